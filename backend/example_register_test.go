package backend_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// room holds all seats: a bus within this process.
var room sync.Map

// seat is the driver: one node's place in the room.
type seat struct {
	cluster string
	in      chan []byte
}

func takeSeat(ctx context.Context, o driver.Options) (driver.Driver, error) {
	if err := params.Decode(o.Params, &struct{}{}); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := &seat{o.Cluster, make(chan []byte, 100)}
	room.Store(s, nil)
	return s, nil
}

func (s *seat) Caps() driver.Caps { return driver.Caps{} } // a plain bus

func (s *seat) Serve(ctx context.Context, h driver.Handler) error {
	h.Link(nil)
	for {
		select {
		case frame := <-s.in:
			h.Frame(frame)
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *seat) Broadcast(_ context.Context, frame []byte) error {
	if _, ok := room.Load(s); !ok {
		return driver.ErrClosed
	}
	for other := range room.Range {
		if to := other.(*seat); to.cluster == s.cluster {
			select {
			case to.in <- bytes.Clone(frame):
			default: // it is behind: the portable layer repairs what it misses
			}
		}
	}
	return nil
}

func (s *seat) Close(context.Context) error {
	room.Delete(s)
	return nil
}

// This is a whole backend. Package conformance decides whether it is a good one.
func ExampleRegister() {
	backend.Register("room", driver.Backend{Open: takeSeat}) // in the init of its package

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, name := range []string{"a", "b", "c"} {
		node, err := backend.OpenURL(ctx, "room://?cluster=example&name="+name)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer node.Close(ctx)
		if name != "c" {
			continue
		}
		for view := range node.Watch(ctx) {
			if len(view.Members) == 3 {
				fmt.Println(name, "is at position", view.Position, "of", len(view.Members))
				break
			}
		}
	}
	// Output: c is at position 2 of 3
}
