package backend_test

import (
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
)

// A node knows of each state how often it asked another member for it, and how
// often updates were missing.
func TestInspectCountsResyncs(t *testing.T) {
	bubble(t, func(t *testing.T, bus *memory.Bus) {
		var nodes []backend.ClusterChannel
		var say func(string)
		for _, name := range []string{"a", "b"} {
			c := open(t, bus, name, func(c *backend.Config) { c.Timing.Sync = time.Hour })
			s := new(set)
			ch, err := c.AddState("s", s, nil)
			if err != nil {
				t.Fatal(err)
			}
			nodes = append(nodes, c)
			if name == "a" {
				say = func(entry string) { s.add(entry); ch.Broadcast([]byte(entry + "\n")) }
			}
		}
		state := func() backend.StateInfo { return nodes[1].(backend.Inspector).Inspect().States[0] }
		after(5 * time.Second)
		joined := state()
		if joined.Resyncs == 0 || joined.Gaps != 0 {
			t.Errorf("after joining: %d resyncs, %d gaps; want some, and none", joined.Resyncs, joined.Gaps)
		}
		say("before")
		after(time.Second)
		bus.Cut("a", "b", true)
		say("lost")
		after(200 * time.Millisecond)
		bus.Cut("a", "b", false)
		say("after")
		after(5 * time.Second)
		if now := state(); now.Gaps != 1 || now.Resyncs != joined.Resyncs {
			t.Errorf("after one gap, which its origin closed: %d resyncs, %d gaps; want %d and 1", now.Resyncs, now.Gaps, joined.Resyncs)
		}
	})
}
