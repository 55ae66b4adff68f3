package once_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/once"
)

// holder folds the shares of a node.
type holder struct {
	mu     sync.Mutex
	has    map[string]bool
	shares []once.Share
	ended  chan struct{}
}

// hold has a node follow what it owns of keys. Each Share must be what the one before
// and its changes make it.
func hold(ctx context.Context, t *testing.T, n *node, keys []string) *holder {
	h := &holder{has: map[string]bool{}, ended: make(chan struct{})}
	go func() {
		defer close(h.ended)
		for s := range once.Owned(ctx, n.cluster, keys) {
			h.mu.Lock()
			for _, key := range s.Lost {
				if !h.has[key] {
					t.Errorf("%s loses %s, which it did not have", n.name, key)
				}
				delete(h.has, key)
			}
			for _, key := range s.Gained {
				if h.has[key] {
					t.Errorf("%s gains %s, which it has", n.name, key)
				}
				h.has[key] = true
			}
			if have := slices.Sorted(maps.Keys(h.has)); !slices.Equal(have, slices.Sorted(slices.Values(s.Keys))) {
				t.Errorf("%s has %v by the changes, and %v in all", n.name, have, s.Keys)
			}
			h.shares = append(h.shares, s)
			h.mu.Unlock()
			clear(s.Keys) // the slices are the reader's
			clear(s.Gained)
		}
	}()
	return h
}

func (h *holder) keys() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.has))
}

func someKeys() (keys []string) {
	for i := range 30 {
		keys = append(keys, fmt.Sprintf("shard-%02d", i))
	}
	return keys
}

// Each key has one owner whenever all is settled, and only what must changes hands.
func TestOwned(t *testing.T) {
	cluster(t, once.Options{}, "abc", func(t *testing.T, c *fleet) {
		keys := someKeys()
		holders := map[string]*holder{}
		for name, n := range c.nodes {
			holders[name] = hold(t.Context(), t, n, keys)
		}
		settled := func() map[string]string {
			t.Helper()
			c.pass(crash + moment)
			synctest.Wait()
			owners := map[string]string{}
			for name, h := range holders {
				for _, key := range h.keys() {
					if owners[key] != "" {
						t.Errorf("%s has two owners: %s and %s", key, owners[key], name)
					}
					owners[key] = name
				}
			}
			if len(owners) != len(keys) {
				t.Errorf("%d of %d keys have an owner", len(owners), len(keys))
			}
			return owners
		}
		before := settled()
		c.start("d")
		holders["d"] = hold(t.Context(), t, c.nodes["d"], keys)
		with := settled()
		c.nodes["d"].stop()
		<-holders["d"].ended
		after := settled()
		for _, key := range keys {
			if with[key] != before[key] && with[key] != "d" {
				t.Errorf("%s went from %s to %s when d joined", key, before[key], with[key])
			}
			if after[key] != before[key] {
				t.Errorf("%s was of %s, and is of %s now that d has left", key, before[key], after[key])
			}
		}
		if first := holders["d"].shares[0]; len(first.Keys) == len(keys) {
			t.Error("who joins begins as if it were alone")
		}
		if last := holders["d"].shares[len(holders["d"].shares)-1]; len(last.Keys) > 0 || last.View.Status != backend.Closed {
			t.Errorf("who leaves ends with %v, %v", last.Keys, last.View.Status)
		}
	})
}

// A node that is detached keeps what it has, says so, and owns all where it is alone.
func TestOwnedWhileDetached(t *testing.T) {
	cluster(t, once.Options{}, "ab", func(t *testing.T, c *fleet) {
		keys := someKeys()
		a := hold(t.Context(), t, c.nodes["a"], keys)
		synctest.Wait()
		had := a.keys()
		c.bus.Stop()
		c.pass(grace / 2)
		if now := a.keys(); !slices.Equal(had, now) {
			t.Errorf("detached it has %v, and had %v", now, had)
		}
		a.mu.Lock()
		if last := a.shares[len(a.shares)-1]; last.View.Status != backend.Detached || len(last.Gained)+len(last.Lost) > 0 {
			t.Errorf("the last share is %+v", last)
		}
		a.mu.Unlock()
		c.pass(grace)
		if now := a.keys(); len(now) != len(keys) {
			t.Errorf("alone it has %d of %d keys", len(now), len(keys))
		}
		c.bus.Start()
		c.pass(grace)
		if now := a.keys(); !slices.Equal(had, now) {
			t.Errorf("back it has %v, and had %v", now, had)
		}
	})
}

func TestOwnedEnds(t *testing.T) {
	cluster(t, once.Options{}, "a", func(t *testing.T, c *fleet) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		h := hold(ctx, t, c.nodes["a"], []string{"twice", "twice"})
		<-h.ended
		if len(h.shares) != 1 || len(h.keys()) != 1 {
			t.Errorf("%+v", h.shares)
		}
		none := hold(ctx, t, c.nodes["a"], nil)
		<-none.ended
	})
}
