package backend_test

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

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
