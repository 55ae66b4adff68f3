package backend_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"
)

// A node is in its own view at once. Which transport it uses is one key.
func ExampleOpen() {
	ctx := context.Background()
	node, err := backend.Open(ctx, backend.Config{
		Backend: "memory",
		Cluster: "alerts",
		Name:    "node-1",
		Meta:    map[string]string{"zone": "eu"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close(ctx)
	self := node.View().Self()
	fmt.Println(self.Name, self.Meta["zone"], "at position", node.Position())
	// Output: node-1 eu at position 0
}

// A configuration that cannot be used is an error that names the key.
func ExampleOpen_badConfiguration() {
	_, err := backend.Open(context.Background(), backend.Config{Backend: "memory", Params: map[string]string{"buss": "main"}})
	fmt.Println(errors.Is(err, backend.ErrConfig))
	fmt.Println(err)
	// Output:
	// true
	// open memory: bad configuration: "buss" is not a known key, did you mean "bus"? (known keys: bus, max_frame)
}

// The same configuration as a URL.
func ExampleOpenURL() {
	ctx := context.Background()
	node, err := backend.OpenURL(ctx, "memory://?cluster=urls&name=node-1&meta.zone=eu&bus=main")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close(ctx)
	if err := node.WaitReady(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(node.View().Ready)
	// Output: alone
}

func ExampleParseYAML() {
	config, err := backend.ParseYAML([]byte(`
backend: memory
cluster: alerts
timing: {heartbeat: 200ms}
memory: {bus: main}
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(config.Backend, config.Cluster, config.Timing.Heartbeat, config.Params)
	// Output: memory alerts 200ms map[bus:main]
}

// In a program, the environment is os.Environ().
func ExampleFromEnv() {
	config, err := backend.FromEnv([]string{
		"CLUSTERCHANNEL_BACKEND=memory",
		"CLUSTERCHANNEL_CLUSTER=alerts",
		"CLUSTERCHANNEL_GRACE=30s",
		"CLUSTERCHANNEL_PARAM_BUS=main",
		"PATH=" + os.Getenv("PATH"),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(config.Backend, config.Cluster, config.Timing.Grace, config.Params)
	// Output: memory alerts 30s map[bus:main]
}

// A node sees another one come and go.
func ExampleClusterChannel_watch() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	open := func(name string) backend.ClusterChannel {
		node, err := backend.Open(ctx, backend.Config{Backend: "memory", Cluster: "watched", Name: name})
		if err != nil {
			panic(err)
		}
		return node
	}
	a := open("a")
	defer a.Close(ctx)
	b := open("b")
	met := false
	for view := range a.Watch(ctx) {
		switch {
		case len(view.Members) == 2 && !met:
			fmt.Println(view.Members[0].Name, view.Members[1].Name)
			met = true
			_ = b.Close(ctx)
		case len(view.Members) == 1 && met:
			fmt.Println(view.Members[0].Name)
			return
		}
	}
	// Output:
	// a b
	// a
}

// Each node waits until those before it have had their turn.
func ExampleWaitTurn() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	nodes := make([]backend.ClusterChannel, 2)
	for i, name := range []string{"a", "b"} {
		node, err := backend.Open(ctx, backend.Config{Backend: "memory", Cluster: "turns", Name: name})
		if err != nil {
			fmt.Println(err)
			return
		}
		defer node.Close(ctx)
		nodes[i] = node
	}
	for view := range nodes[1].Watch(ctx) {
		if len(view.Members) == 2 {
			break
		}
	}
	const turn = 300 * time.Millisecond
	for _, node := range nodes {
		start := time.Now()
		if err := backend.WaitTurn(ctx, node, turn); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("position", node.Position(), "waits for a turn:", time.Since(start) >= turn)
	}
	// Output:
	// position 0 waits for a turn: false
	// position 1 waits for a turn: true
}

// Every node whose view is this one sends a key to the same owner. When a member
// leaves, only its keys move.
func ExampleView_Owner() {
	three := backend.View{Members: []backend.Member{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	two := backend.View{Members: []backend.Member{{Name: "a"}, {Name: "c"}}}
	for _, key := range []string{"cpu", "disk", "memory", "network"} {
		fmt.Println(key, three.Owner(key).Name, two.Owner(key).Name)
	}
	// Output:
	// cpu a a
	// disk a a
	// memory b c
	// network b a
}
