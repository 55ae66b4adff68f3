package memberlist_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memberlist"
)

func Example() {
	ctx := context.Background()
	channel, err := backend.Open(ctx, backend.Config{
		Backend: "memberlist",
		Cluster: "alerts",
		Name:    "node-1",
		Params: map[string]string{
			"listen_address": "127.0.0.1:0",
			"peers":          "", // all nodes, or one name that stands for them
		},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := channel.WaitReady(ctx); err != nil {
		fmt.Println(err)
	}
	v := channel.View()
	fmt.Println(v.Self().Name, v.Position, v.Ready)
	if err := channel.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output: node-1 0 alone
}
