package memory_test

import (
	"context"
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
)

// A test of a service stops the bus, as a server that crashes, and starts it
// again: the node says so, and comes back by itself.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	bus := memory.NewBus()
	defer bus.Remove()
	node, err := backend.Open(ctx, backend.Config{
		Backend: "memory", Cluster: "tests", Name: "node-1", Params: map[string]string{"bus": bus.Name()},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close(ctx)
	wait := func(status backend.Status) {
		for view := range node.Watch(ctx) {
			if view.Status == status {
				fmt.Println(status)
				return
			}
		}
	}
	wait(backend.Attached)
	bus.Stop()
	wait(backend.Detached)
	bus.Start()
	wait(backend.Attached)
	// Output:
	// attached
	// detached
	// attached
}
