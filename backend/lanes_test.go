package backend_test

import (
	"bytes"
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/internal/codec"
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// heartbeatOf is one of a member that hears what is sent to it alone.
func heartbeatOf(m driver.Member) []byte {
	return codec.Encode(wire.NewEncoder("t", m.Instance), &core.Heartbeat{
		Member: core.Member{Name: m.Name}, Count: 1, Interval: time.Minute, Worth: core.Whole, Alone: true,
	})
}

// A transport may need seconds to find out that one member cannot be reached. What is
// for all, and for the others, leaves meanwhile.
func TestAMemberThatCannotBeReachedDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const others = 3
		var mu sync.Mutex
		sent := map[string]int{}
		broadcast := make(chan time.Time, 100)
		d := &script{
			caps: func() driver.Caps {
				return driver.Caps{Membership: true, Send: func(ctx context.Context, to driver.Member, _ []byte) error {
					mu.Lock()
					sent[to.Instance]++
					mu.Unlock()
					<-ctx.Done() // nobody answers
					return ctx.Err()
				}}
			},
			serve: func(ctx context.Context, h driver.Handler) error {
				self := driver.Member{Name: "a", Instance: "a"}
				all := []driver.Member{self}
				for i := range others {
					all = append(all, driver.Member{Name: string(rune('b' + i)), Instance: string(rune('b' + i))})
				}
				h.Members(all)
				h.Link(nil)
				for _, m := range all[1:] {
					h.Frame(heartbeatOf(m))
				}
				<-ctx.Done()
				return nil
			},
			broadcast: func(_ context.Context, frame []byte) error {
				if bytes.Contains(frame, []byte("an update")) {
					broadcast <- time.Now()
				}
				return nil
			},
		}
		c, err := backend.Open(t.Context(), ownDriver(d.open))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = c.Close(ctx) // nobody hears the goodbye
		}()
		s, err := c.AddState("s", &notes{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		after(2 * time.Second) // whoever has the state is looked for
		mu.Lock()
		asked := len(sent)
		mu.Unlock()
		if asked < 2 {
			t.Errorf("%d of %d members were asked within 2s", asked, others)
		}
		began := time.Now()
		if err := s.TryBroadcast([]byte("an update")); err != nil {
			t.Fatal(err)
		}
		select {
		case at := <-broadcast:
			if took := at.Sub(began); took > 100*time.Millisecond {
				t.Errorf("an update left after %v", took)
			}
		case <-time.After(time.Minute):
			t.Error("an update has not left after a minute")
		}
	})
}

// Nor does it delay the data that others have asked for.
func TestAMemberThatCannotBeReachedDelaysNobodysAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		self := make(chan string, 1)
		answered := make(chan time.Time, 100)
		handlers := make(chan driver.Handler, 1)
		d := &script{
			caps: func() driver.Caps {
				return driver.Caps{Membership: true, Send: func(ctx context.Context, to driver.Member, frame []byte) error {
					if !bytes.Contains(frame, []byte("the same")) { // what the state holds
						return nil
					}
					if to.Instance == "c" {
						answered <- time.Now()
						return nil
					}
					<-ctx.Done() // nobody answers
					return ctx.Err()
				}}
			},
			serve: func(ctx context.Context, h driver.Handler) error {
				h.Members([]driver.Member{{Name: "a", Instance: <-self}, {Name: "b", Instance: "b"}, {Name: "c", Instance: "c"}})
				h.Link(nil)
				for _, m := range []string{"b", "c"} {
					h.Frame(heartbeatOf(driver.Member{Name: m, Instance: m}))
				}
				handlers <- h
				<-ctx.Done()
				return nil
			},
		}
		open := func(ctx context.Context, o driver.Options) (driver.Driver, error) {
			self <- o.Self.Instance
			return d, nil
		}
		c, err := backend.Open(t.Context(), ownDriver(open))
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = c.Close(ctx)
		}()
		if _, err := c.AddState("s", &notes{}, nil); err != nil {
			t.Fatal(err)
		}
		h, v := <-handlers, c.View()
		after(time.Second)
		began := time.Now()
		for _, m := range []string{"b", "c"} {
			h.Frame(codec.Encode(wire.NewEncoder("t", m), &core.Pull{To: v.Members[v.Position].Instance, ID: 1, Items: []core.PullItem{{Key: "s"}}}))
		}
		select {
		case at := <-answered:
			if took := at.Sub(began); took > 100*time.Millisecond {
				t.Errorf("c has its answer after %v", took)
			}
		case <-time.After(time.Minute):
			t.Error("c has no answer after a minute")
		}
	})
}
