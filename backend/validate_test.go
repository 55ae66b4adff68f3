package backend

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

func TestCompleteFillsDefaults(t *testing.T) {
	c := Config{Backend: "memory"}
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	want := Timing{Heartbeat: 500 * time.Millisecond, Grace: 10 * time.Second, Settle: 10 * time.Second, Sync: 30 * time.Second}
	if c.Timing != want {
		t.Errorf("Timing = %+v, want %+v", c.Timing, want)
	}
	if c.OnIsolation != BecomeAlone || c.OnStartFailure != Degrade {
		t.Errorf("policies = %q, %q, want %q, %q", c.OnIsolation, c.OnStartFailure, BecomeAlone, Degrade)
	}
	if c.MaxPayload != 16<<20 || c.QueueItems != 131072 || c.QueueBytes != 64<<20 {
		t.Errorf("sizes = %d, %d, %d", c.MaxPayload, c.QueueItems, c.QueueBytes)
	}
	if c.Logger != slog.Default() {
		t.Error("Logger is not slog.Default()")
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != nameFrom(host) {
		t.Errorf("Name = %q, want the host's name, %q", c.Name, host)
	}
}

func TestCompleteKeepsWhatIsGiven(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	c := Config{
		Name: "a.b_c-d:1", Cluster: strings.Repeat("ü", 100), Meta: map[string]string{"zone": strings.Repeat("z", 508)},
		Timing:      Timing{Heartbeat: 10 * time.Millisecond, Grace: 100 * time.Millisecond, Settle: time.Millisecond, Sync: 24 * time.Hour},
		OnIsolation: HoldView, OnStartFailure: Fail, MaxPayload: 256, QueueItems: 1, QueueBytes: 256, Logger: logger,
	}
	given := c
	if err := c.complete(); err != nil {
		t.Fatal(err)
	}
	if c.Name != given.Name || c.Timing != given.Timing || c.OnIsolation != HoldView || c.OnStartFailure != Fail ||
		c.MaxPayload != 256 || c.QueueItems != 1 || c.QueueBytes != 256 || c.Logger != logger {
		t.Errorf("complete changed what was given: %+v", c)
	}
	c.Meta["zone"] = "changed"
	if given.Meta["zone"] == "changed" {
		t.Error("complete shares Meta with the caller")
	}
}

func TestCompleteRefuses(t *testing.T) {
	for _, bad := range []struct {
		change func(*Config)
		texts  []string
	}{
		{func(c *Config) { c.Name = "no de" }, []string{"name", `"no de"`, "letters"}},
		{func(c *Config) { c.Name = "nöde" }, []string{"name", "nöde"}},
		{func(c *Config) { c.Name = "a/b" }, []string{"name", "a/b"}},
		{func(c *Config) { c.Name = strings.Repeat("n", 129) }, []string{"name", "129", "128"}},
		{func(c *Config) { c.Cluster = "\xff" }, []string{"cluster", "UTF-8"}},
		{func(c *Config) { c.Cluster = strings.Repeat("c", 201) }, []string{"cluster", "201", "200"}},
		{func(c *Config) { c.Meta = map[string]string{"zone": strings.Repeat("z", 509)} }, []string{"meta", "513", "512"}},
		{func(c *Config) { c.Meta = map[string]string{"": "z"} }, []string{"meta", "empty"}},
		{func(c *Config) { c.Meta = map[string]string{"zone": "\xff"} }, []string{"meta", "zone", "UTF-8"}},
		{func(c *Config) { c.OnIsolation = "panic" }, []string{"on_isolation", `"panic"`, "alone, hold"}},
		{func(c *Config) { c.OnStartFailure = "panic" }, []string{"on_start_failure", `"panic"`, "degrade, fail"}},
		{func(c *Config) { c.Timing.Heartbeat = -time.Second }, []string{"heartbeat", "-1s"}},
		{func(c *Config) { c.Timing.Grace = -time.Second }, []string{"grace", "-1s"}},
		{func(c *Config) { c.Timing.Settle = -time.Second }, []string{"settle", "-1s"}},
		{func(c *Config) { c.Timing.Sync = -time.Second }, []string{"sync", "-1s"}},
		{func(c *Config) { c.MaxPayload = -1 }, []string{"max_payload", "-1"}},
		{func(c *Config) { c.QueueItems = -1 }, []string{"queue_items", "-1"}},
		{func(c *Config) { c.QueueBytes = -1 }, []string{"queue_bytes", "-1"}},
		{func(c *Config) { c.Timing.Heartbeat = 9 * time.Millisecond }, []string{"heartbeat", "9ms", "10ms and 1m"}},
		{func(c *Config) { c.Timing.Heartbeat = time.Hour }, []string{"heartbeat", "1h", "10ms and 1m"}},
		{func(c *Config) { c.Timing.Heartbeat = 1 }, []string{"heartbeat", "1ns", "10ms and 1m"}},
		{func(c *Config) { c.Timing.Heartbeat = 100 * time.Microsecond }, []string{"heartbeat", "100µs", "10ms and 1m"}},
		{func(c *Config) { c.Timing.Heartbeat = 2562047 * time.Hour }, []string{"heartbeat", "2562047h", "10ms and 1m"}},
		{func(c *Config) { c.Timing.Settle = 25 * time.Hour }, []string{"settle", "25h", "1ms and 24h"}},
		{func(c *Config) { c.Timing.Sync = 1 }, []string{"sync", "1ns", "100ms and 24h"}},
		{func(c *Config) { c.Timing.Sync = 25 * time.Hour }, []string{"sync", "25h", "100ms and 24h"}},
		{func(c *Config) { c.MaxPayload, c.QueueBytes = 256, 255 }, []string{"queue_bytes", "255B", "256B and 64GiB"}},
		{func(c *Config) { c.QueueBytes = 1<<36 + 1 }, []string{"queue_bytes", "64GiB1B", "256B and 64GiB"}},
		{func(c *Config) { c.Timing.Grace = time.Millisecond }, []string{"grace", "1ms", "100ms and 24h"}},
		{func(c *Config) { c.Timing.Grace = 25 * time.Hour }, []string{"grace", "25h", "100ms and 24h"}},
		{func(c *Config) { c.Timing.Grace = 400 * time.Millisecond }, []string{"grace", "400ms", "heartbeat", "500ms"}},
		{func(c *Config) { c.Timing.Heartbeat = time.Minute }, []string{"grace", "10s", "heartbeat", "1m"}},
		{func(c *Config) { c.Timing.Settle = 1 }, []string{"settle", "1ns", "1ms and 24h"}},
		{func(c *Config) { c.Timing.Sync = 50 * time.Millisecond }, []string{"sync", "50ms", "100ms and 24h"}},
		{func(c *Config) { c.Timing.Sync = 200 * time.Millisecond }, []string{"sync", "200ms", "heartbeat", "500ms"}},
		{func(c *Config) { c.MaxPayload = 255 }, []string{"max_payload", "255B", "256B and 255MiB"}},
		{func(c *Config) { c.MaxPayload = 256 << 20 }, []string{"max_payload", "256MiB", "255MiB"}},
		{func(c *Config) { c.QueueItems = 1<<24 + 1 }, []string{"queue_items", "16777217", "1 and 16777216"}},
		{func(c *Config) { c.QueueBytes = 1 << 20 }, []string{"queue_bytes", "1MiB", "max_payload", "16MiB"}},
	} {
		c := Config{Name: "node", Cluster: "c"}
		bad.change(&c)
		err := c.complete()
		if !errors.Is(err, ErrConfig) {
			t.Errorf("want ErrConfig for %q: %v", bad.texts, err)
			continue
		}
		for _, text := range bad.texts {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v, want it to say %q", err, text)
			}
		}
	}
}

func TestCompleteWithADriver(t *testing.T) {
	c := Config{Driver: func(context.Context, driver.Options) (driver.Driver, error) { return nil, nil }}
	if err := c.complete(); err != nil {
		t.Errorf("complete without a backend's name, which Open replaces: %v", err)
	}
}

func TestNameFrom(t *testing.T) {
	for host, want := range map[string]string{
		"host-1.example.com":     "host-1.example.com",
		"my host/ü":              "my-host--",
		"":                       "node",
		strings.Repeat("h", 200): strings.Repeat("h", 128),
	} {
		if got := nameFrom(host); got != want {
			t.Errorf("nameFrom(%q) = %q, want %q", host, got, want)
		}
	}
}
