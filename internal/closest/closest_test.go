package closest_test

import (
	"testing"

	"github.com/clusterchannel/clusterchannel/internal/closest"
)

func TestName(t *testing.T) {
	known := []string{"address", "listen_address", "peers", "password", "db"}
	for name, want := range map[string]string{
		"adress":         "address",
		"listen-address": "listen_address",
		"peer":           "peers",
		"pasword":        "password",
		"bd":             "",
		"zone":           "",
		"":               "",
		"pässword":       "password",
	} {
		if got := closest.Name(name, known); got != want {
			t.Errorf("Name(%q) = %q, want %q", name, got, want)
		}
	}
}
