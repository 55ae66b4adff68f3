package params_test

import (
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

func TestHostPorts(t *testing.T) {
	list := []string{"a", "a:1", "[::1]", "[::1]:2", "10.0.0.1"}
	want := []string{"a:6379", "a:1", "[::1]:6379", "[::1]:2", "10.0.0.1:6379"}
	if err := params.HostPorts("address", list, "6379"); err != nil || !slices.Equal(list, want) {
		t.Errorf("HostPorts = %q, %v, want %q", list, err, want)
	}
	for _, c := range []struct{ text, usual, want string }{
		{"a", "", "host:port"}, {"::1", "1", "host:port"}, {":1", "1", "host:port"}, {"u:s3cret@a:1", "1", "before an @"}, {"s3cret@a:1", "1", "before an @"},
		{"a:1?p=s3cret", "1", "host:port"}, {"a?p=s3cret:1", "", "host:port"}, {strings.Repeat("a", 80) + "s3cret:0", "1", "65535"},
		{"a/b:1", "1", "host:port"}, {"a:", "1", "65535"}, {"a:0", "1", "65535"}, {"a:65536", "", "65535"}, {"a:http", "", "65535"},
	} {
		err := params.HostPorts("address", []string{c.text}, c.usual)
		if !errors.Is(err, driver.ErrConfig) || !strings.Contains(err.Error(), "address: ") || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("HostPorts(%q) with port %q: %v, want %q", c.text, c.usual, err, c.want)
		}
	}
	if err := params.HostPorts("address", nil, "1"); !errors.Is(err, driver.ErrConfig) || !strings.Contains(err.Error(), "is empty") {
		t.Errorf("of nothing: %v", err)
	}
}

func TestUnnamed(t *testing.T) {
	for _, err := range []error{&net.DNSError{Err: "no such host", Name: "a"}, errors.New("lookup a: no such host")} {
		if got := params.Unnamed("address", err); got != "address: " {
			t.Errorf("Unnamed of %v = %q", err, got)
		}
	}
	for _, err := range []error{nil, errors.New("connection refused")} {
		if got := params.Unnamed("address", err); got != "" {
			t.Errorf("Unnamed of %v = %q, want nothing", err, got)
		}
	}
}

func TestShown(t *testing.T) {
	for address, want := range map[string]string{
		"a:1": "a:1", "u:s3cret@a:1": "…@a:1", "s3cret@": "…@", "http://u:s3@cret@a:1/x": "…@a:1/x", "a:1/?p=s3cret": "a:1/?…", "u:s3cret?@a?b": "…@a?…", "": "",
		strings.Repeat("a", 81): strings.Repeat("a", 80) + "…",
	} {
		if got := params.Shown(address); got != want {
			t.Errorf("Shown(%q) = %q, want %q", address, got, want)
		}
	}
}
