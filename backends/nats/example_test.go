package nats_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/nats"
)

// A server that is away is no error: the node attaches when it can.
func Example() {
	ctx := context.Background()
	channel, err := backend.Open(ctx, backend.Config{
		Backend: "nats",
		Cluster: "alerts",
		Name:    "node-1",
		Params: map[string]string{
			"servers": "127.0.0.1:1, 127.0.0.1:2",
		},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	v := channel.View()
	fmt.Println(v.Self().Name, v.Position, v.Status)
	if err := channel.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: node-1 0 detached
}
