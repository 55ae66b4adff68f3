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

// seen is a driver that only knows members.
type seen struct{}

func (seen) Broadcast(context.Context, []byte) error { return nil }
func (seen) Caps() driver.Caps                       { return driver.Caps{Membership: true} }
func (seen) Close(context.Context) error             { return nil }

// A stranger's name may be any bytes.
func TestANameThatIsNoText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const name = "strange\xff"
		registry := prometheus.NewRegistry()
		var handler driver.Handler
		c, err := backend.Open(t.Context(), backend.Config{
			Cluster: "t", Name: "self", Registerer: registry, Logger: slog.New(slog.DiscardHandler),
			Open: func(_ context.Context, o driver.Options, h driver.Handler) (driver.Driver, error) {
				handler = h
				h.Link(nil)
				h.Members([]driver.Member{o.Self, {Name: name}})
				return seen{}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
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
