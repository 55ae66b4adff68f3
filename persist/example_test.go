package persist_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/clusterchannel/clusterchannel/persist"
)

// note is a state of one line: the longest one wins.
type note struct{ text string }

func (n *note) MarshalBinary() ([]byte, error) { return []byte(n.text), nil }

func (n *note) Merge(b []byte) error {
	if len(b) > len(n.text) {
		n.text = string(b)
	}
	return nil
}

// A state is loaded as it was when the last node stopped.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("", "persist")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	run := func(n *note) {
		store, err := persist.Open(persist.Options{DSN: "sqlite:" + filepath.Join(dir, "state.db"), Cluster: "notes"})
		if err != nil {
			fmt.Println(err)
			return
		}
		kept, err := store.Keep(ctx, "note", n) // pass kept to ClusterChannel.AddState
		if err != nil {
			fmt.Println(err)
		}
		fmt.Printf("loaded %q\n", n.text)
		if err := kept.Merge([]byte("written before the stop")); err != nil {
			fmt.Println(err)
		}
		if err := store.Close(ctx); err != nil {
			fmt.Println(err)
		}
	}
	run(&note{})
	run(&note{})
	// Output:
	// loaded ""
	// loaded "written before the stop"
}
