package redis_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/redis"
)

// The server need not be there yet: the channel attaches when it can.
func Example() {
	ctx := context.Background()
	channel, err := backend.Open(ctx, backend.Config{
		Backend: "redis",
		Cluster: "alerts",
		Name:    "node-1",
		Params:  map[string]string{"address": "127.0.0.1:1"},
		Logger:  slog.New(slog.NewTextHandler(io.Discard, nil)),
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

// The Sentinels are asked where the master is, over TLS like everything else.
func Example_sentinel() {
	_, err := backend.OpenURL(context.Background(), "rediss://node:secret@sentinel-1,sentinel-2?cluster=alerts&mode=sentinel")
	fmt.Println(err)
	// Output: open rediss: bad configuration: master_name: is required where mode is sentinel
}

// In ExampleWithCredentials the service supplies tokens as passwords.
func ExampleWithCredentials() {
	open := redis.WithCredentials(func(context.Context) (string, string, error) {
		return "node", "a token that is valid now", nil
	})
	_, err := backend.Open(context.Background(), backend.Config{
		Backend: "redis",
		Cluster: "alerts",
		Name:    "node-1",
		Driver:  open,
		Params:  map[string]string{"address": "127.0.0.1:1"},

		OnStartFailure: backend.Fail,
		Logger:         slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	fmt.Println(errors.Is(err, backend.ErrUnavailable))
	// Output: true
}
