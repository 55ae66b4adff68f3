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

// A member whose node closes a driver has left for those that see it, and is
// back, the same instance, when its node has opened another.
func TestAMemberThatLeftIsBack(t *testing.T) {
	other := driver.Member{Name: "z", Instance: "same"}
	for name, pause := range map[string]time.Duration{"seen between": time.Second, "at once": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				drv := make(seen)
				c, err := backend.Open(t.Context(), backend.Config{
					Cluster: "t", Name: "self", Logger: slog.New(slog.DiscardHandler),
					Driver: drv.open,
				})
				if err != nil {
					t.Fatal(err)
				}
				h, self := <-drv, self(c)
				h.Link(nil)
				h.Members([]driver.Member{self, other})
				expect := func(what string, want ...string) {
					t.Helper()
					<-time.After(time.Second)
					if all := names(c); !slices.Equal(all, want) {
						t.Errorf("%s: the members are %q, want %q", what, all, want)
					}
				}
				expect("opened", "self", "z")
				h.Left(other)
				h.Members([]driver.Member{self, other}) // a list from before it left
				expect("left", "self")
				h.Left(other)
				h.Members([]driver.Member{self})
				<-time.After(pause)
				h.Members([]driver.Member{self, other})
				expect("back", "self", "z")
				h.Left(other)
				h.Members([]driver.Member{self})
				expect("left for good", "self")
				if err := c.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A driver that lists the members may hear one before it says that it is attached,
// and know of it a moment later: that makes nobody join, fail and join again.
func TestAMemberIsHeardBeforeTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		drv, registry := make(seen), prometheus.NewRegistry()
		c, err := backend.Open(t.Context(), backend.Config{
			Cluster: "t", Name: "self", Logger: slog.New(slog.DiscardHandler), Driver: drv.open, Registerer: registry,
		})
		if err != nil {
			t.Fatal(err)
		}
		h, self := <-drv, self(c)
		early, other := driver.Member{Name: "a", Instance: "a"}, driver.Member{Name: "z", Instance: "z"}
		h.Frame(heartbeatOf(early))
		synctest.Wait()
		h.Members([]driver.Member{self, other})
		h.Link(nil)
		synctest.Wait()
		h.Members([]driver.Member{self, other, early})
		synctest.Wait()
		if all, want := names(c), []string{"a", "self", "z"}; !slices.Equal(all, want) {
			t.Errorf("the members are %q, want %q", all, want)
		}
		if failed := value(t, registry, "clusterchannel_members_failed_total"); failed != 0 {
			t.Errorf("%v have failed", failed)
		}
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
