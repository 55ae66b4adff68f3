package doctor_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// collect is an Examination, and what it has found.
func collect(found *[]driver.Finding) driver.Examination {
	return driver.Examination{Timeout: 5 * time.Second, Report: func(f driver.Finding) { *found = append(*found, f) }}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		made   bool
		status driver.Status
		words  []string
	}{
		dir:                           {false, driver.OK, []string{"it can be done"}},
		filepath.Join(dir, "a", "b"):  {true, driver.OK, []string{"it is made at the start"}},
		filepath.Join(dir, "absent"):  {false, driver.Fail, []string{"mkdir -p"}},
		file:                          {false, driver.Fail, []string{"is a file"}},
		"/proc/clusterchannel/absent": {true, driver.Fail, []string{"/proc"}},
	} {
		var found []driver.Finding
		if ok := doctor.Directory(collect(&found), "storage path", path, want.made); ok != (want.status == driver.OK) {
			t.Errorf("%s: %v", path, ok)
		}
		has(t, found, "storage path", want.status, want.words...)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestClock(t *testing.T) {
	for ahead, words := range map[time.Duration][]string{
		0:                {"agree"},
		-10 * time.Hour:  {"it is 10h0m0s behind this host's", "timedatectl"},
		10 * time.Second: {"it is 10s ahead of this host's", "timedatectl"},
	} {
		var found []driver.Finding
		doctor.Clock(t.Context(), collect(&found), "the server", 0, func(context.Context) (time.Time, error) { return time.Now().Add(ahead), nil })
		status := driver.Warn
		if ahead == 0 {
			status = driver.OK
		}
		has(t, found, "clock", status, append(words, "the server")...)
	}
	var found []driver.Finding
	doctor.Clock(t.Context(), collect(&found), "the server", 0, func(context.Context) (time.Time, error) { return time.Time{}, os.ErrPermission })
	has(t, found, "clock", driver.Skip, "permission denied", "no fault")
}

// nameServer answers questions for addresses with each of ips in turn.
func nameServer(t *testing.T, ips ...netip.Addr) *net.Resolver {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for asked := 0; ; {
			n, from, err := l.ReadFrom(b)
			if err != nil {
				return // the test is over
			}
			end := 12 + strings.IndexByte(string(b[12:n]), 0) + 5 // of the question
			answer := append([]byte{b[0], b[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, b[12:end]...)
			if b[end-3] == 1 { // type A
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				answer = append(answer, ips[asked%len(ips)].AsSlice()...)
				asked++
			}
			if _, err := l.WriteTo(answer, from); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = l.Close() // ends it
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", l.LocalAddr().String())
	}}
}

// Name servers that contradict each other are named, and all answers are tried.
func TestNamesThatDiffer(t *testing.T) {
	before := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = before })
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	var found []driver.Finding
	net.DefaultResolver = nameServer(t, a)
	if got := doctor.Resolve(t.Context(), collect(&found), []string{"redis.test:6379"}); strings.Join(got, " ") != "10.0.0.1:6379" {
		t.Errorf("found %q", got)
	}
	has(t, found, "name", driver.OK, "10.0.0.1:6379")
	net.DefaultResolver = nameServer(t, a, b)
	if got := doctor.Resolve(t.Context(), collect(&found), []string{"redis.test:6379"}); strings.Join(got, " ") != "10.0.0.1:6379 10.0.0.2:6379" {
		t.Errorf("found %q", got)
	}
	has(t, found, "name", driver.Warn, "the answers differ", "10.0.0.1:6379, then 10.0.0.2:6379", "dig +short redis.test @SERVER")
}
