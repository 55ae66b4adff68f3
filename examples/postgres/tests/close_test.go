package postgres_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"example.com/postgres"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

// TestCloseEndsWhileTheServerIsSilent closes while the server answers neither a
// running statement nor its cancellation.
func TestCloseEndsWhileTheServerIsSilent(t *testing.T) {
	s := servers.Start(t, servers.Postgres(), servers.Options{})
	proxy, err := netfault.Listen(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = proxy.Close() }()
	d, err := postgres.Open(t.Context(), driver.Options{
		Cluster: "silent", Logger: slog.New(slog.DiscardHandler),
		Params: map[string]string{"address": proxy.Addr(), "password": servers.PostgresPassword},
	})
	if err != nil {
		t.Fatal(err)
	}
	proxy.Set(netfault.Swallow)
	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := d.Broadcast(soon, []byte("unheard")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Broadcast: %v, want that its context has ended", err)
	}
	start := time.Now()
	if err := d.Close(soon); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("Close took %v", took)
	}
	if err := d.Broadcast(t.Context(), nil); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Broadcast after Close: %v, want ErrClosed", err)
	}
}
