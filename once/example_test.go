package once_test

import (
	"context"
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/once"
)

// Both nodes of a cluster are to send a report, and one does.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	nodes, groups := []backend.ClusterChannel{}, []*once.Group{}
	for _, name := range []string{"a", "b"} {
		node, err := backend.Open(ctx, backend.Config{Backend: "memory", Cluster: "reports", Name: name})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer node.Close(ctx)
		jobs, err := once.New(node, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer jobs.Close(ctx)
		nodes, groups = append(nodes, node), append(groups, jobs)
	}
	for view := range nodes[0].Watch(ctx) {
		if len(view.Members) == 2 {
			break
		}
	}

	send := func(context.Context) ([]byte, error) {
		fmt.Println("sending")
		return []byte("sent to 12 people"), nil
	}
	results := make(chan once.Result)
	for _, jobs := range groups {
		go func() {
			result, err := jobs.Do(ctx, "report/2026-12-01", send)
			if err != nil {
				fmt.Println(err)
			}
			results <- result
		}()
	}
	for range groups {
		fmt.Printf("%s\n", (<-results).Value)
	}
	// Output:
	// sending
	// sent to 12 people
	// sent to 12 people
}

// A node follows which of the shards are its own. When another one joins, some of them
// change hands.
func ExampleOwned() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	open := func(name string) backend.ClusterChannel {
		node, err := backend.Open(ctx, backend.Config{Backend: "memory", Cluster: "shards", Name: name})
		if err != nil {
			panic(err)
		}
		return node
	}
	a := open("a")
	defer a.Close(ctx)
	var b backend.ClusterChannel
	for share := range once.Owned(ctx, a, []string{"red", "green", "blue", "black"}) {
		for _, shard := range share.Lost {
			fmt.Println("stops", shard)
		}
		for _, shard := range share.Gained {
			fmt.Println("starts", shard)
		}
		switch {
		case b == nil:
			b = open("b")
			defer b.Close(ctx)
		case len(share.Lost) > 0:
			return
		}
	}
	// Output:
	// starts red
	// starts green
	// starts blue
	// starts black
	// stops red
	// stops blue
}
