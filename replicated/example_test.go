package replicated_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// Two nodes share a map. What one sets the other sees, and may change.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	join := func(name string) (backend.ClusterChannel, *replicated.Map[string, int]) {
		node, err := backend.Open(ctx, backend.Config{Backend: "memory", Cluster: "quotas", Name: name})
		if err != nil {
			log.Fatal(err)
		}
		quotas, err := replicated.NewMap[string, int](nil)
		if err != nil {
			log.Fatal(err)
		}
		if err := quotas.Attach(node, "quotas"); err != nil {
			log.Fatal(err)
		}
		return node, quotas
	}
	node, first := join("first")
	defer node.Close(ctx)
	other, second := join("second")
	defer other.Close(ctx)
	if err := first.Set("alice", 10); err != nil {
		log.Fatal(err)
	}
	for change := range second.Watch(ctx) {
		fmt.Println("second:", change.Key, change.Value)
		break
	}
	if err := second.Set("alice", 20); err != nil {
		log.Fatal(err)
	}
	for change := range first.Watch(ctx) {
		if change.Value == 20 {
			fmt.Println("first:", change.Key, change.Value)
			break
		}
	}
	// Output:
	// second: alice 10
	// first: alice 20
}
