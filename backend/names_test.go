package backend_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// seen is a driver that only knows members, and hands over its Handler.
type seen chan driver.Handler

func (seen) Broadcast(context.Context, []byte) error { return nil }
func (seen) Caps() driver.Caps                       { return driver.Caps{Membership: true} }
func (seen) Close(context.Context) error             { return nil }

func (s seen) Serve(ctx context.Context, h driver.Handler) error {
	s <- h
	<-ctx.Done()
	return nil
}

func (s seen) open(context.Context, driver.Options) (driver.Driver, error) { return s, nil }

func self(c backend.ClusterChannel) driver.Member { return c.View().Self() }

// A stranger's name may be any bytes.
func TestANameThatIsNoText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "strange\xff"
		registry := prometheus.NewRegistry()
		drv := make(seen)
		c, err := backend.Open(t.Context(), backend.Config{
			Cluster: "t", Name: "self", Registerer: registry, Logger: slog.New(slog.DiscardHandler),
			Driver: drv.open,
		})
		if err != nil {
			t.Fatal(err)
		}
		handler := <-drv
		handler.Link(nil)
		handler.Members([]driver.Member{self(c), {Name: name}})
		<-time.After(time.Second)
		handler.Probe(name, time.Millisecond, nil)
		if all := names(c); !slices.Contains(all, name) {
			t.Errorf("members: %q", all)
		}
		if _, err := registry.Gather(); err != nil {
			t.Error(err)
		}
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
