package backend_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/memory"
)

// counting is a set that counts what it merges.
type counting struct {
	set
	merges atomic.Int64
}

func (c *counting) Merge(b []byte) error {
	if len(b) > 0 {
		c.merges.Add(1)
	}
	return c.set.Merge(b)
}

// A state that one member asked for is merged by that member alone, also where
// the transport can send to all only.
func TestAnAnswerNamesItsReceiver(t *testing.T) {
	entry := strings.Repeat("entry", 200)
	for name, limit := range map[string]int{"whole": 0, "in chunks": 256} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, bus *memory.Bus) {
				join := func(name string) *counting {
					c := open(t, bus, name, func(c *backend.Config) {
						c.Driver = func(ctx context.Context, o driver.Options) (driver.Driver, error) {
							d, err := memory.Open(ctx, o)
							return toAll{d, limit}, err
						}
					})
					s := new(counting)
					if _, err := c.AddState("s", s, nil); err != nil {
						t.Fatal(err)
					}
					return s
				}
				a, b := join("a"), join("b")
				a.add(entry)
				b.add(entry)
				after(5 * time.Second)
				merged := b.merges.Load()
				joiner := join("c")
				after(10 * time.Second)
				if !joiner.has(entry) {
					t.Error("who joins lacks the state")
				}
				if n := b.merges.Load() - merged; n > 0 {
					t.Errorf("a member merged %d states that were sent to another", n)
				}
			})
		})
	}
}

// toAll is a driver that cannot send to one member.
type toAll struct {
	driver.Driver
	limit int
}

func (d toAll) Caps() driver.Caps {
	c := d.Driver.Caps()
	c.Send, c.MaxFrame = nil, d.limit
	return c
}
