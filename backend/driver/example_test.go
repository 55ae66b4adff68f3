package driver_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/memory"
)

// counted counts the frames that a node sends.
type counted struct {
	driver.Driver
	frames *atomic.Int64
}

func (c counted) Broadcast(ctx context.Context, frame []byte) error {
	c.frames.Add(1)
	return c.Driver.Broadcast(ctx, frame)
}

// A driver can wrap another one: the abilities of a transport are a plain
// value, Caps, which no wrapper hides. The example of backend.Register shows a
// whole driver.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var frames atomic.Int64
	node, err := backend.Open(ctx, backend.Config{
		Backend: "counted", Cluster: "counted", Name: "node-1",
		Driver: func(ctx context.Context, o driver.Options) (driver.Driver, error) {
			d, err := memory.Open(ctx, o)
			if err != nil {
				return nil, err
			}
			return counted{d, &frames}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close(ctx)
	if err := node.WaitReady(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("heartbeats were sent:", frames.Load() > 0)
	// Output: heartbeats were sent: true
}
