package backend_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"
)

// words is a set of words that only grows. Merging such a set is commutative,
// associative and idempotent, as State asks for.
type words struct {
	mu    sync.Mutex
	all   map[string]bool
	added chan string
}

func newWords() *words { return &words{all: map[string]bool{}, added: make(chan string, 10)} }

// MarshalBinary returns all words.
func (w *words) MarshalBinary() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return json.Marshal(slices.Sorted(maps.Keys(w.all)))
}

// Merge adds the words of an update, or all of another node's.
func (w *words) Merge(b []byte) error {
	var more []string
	if err := json.Unmarshal(b, &more); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, word := range more {
		if !w.all[word] {
			w.all[word] = true
			w.added <- word
		}
	}
	return nil
}

// Two nodes share a state. What one of them broadcasts reaches the other; what
// was said before a node joined reaches it too.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	open := func(name string) (backend.ClusterChannel, backend.Channel, *words) {
		node, err := backend.Open(ctx, backend.Config{Backend: "memory", Cluster: "two nodes", Name: name})
		if err != nil {
			log.Fatal(err)
		}
		w := newWords()
		channel, err := node.AddState("words", w, nil)
		if err != nil {
			log.Fatal(err)
		}
		return node, channel, w
	}

	first, channel, w := open("first")
	defer first.Close(ctx)
	if err := w.Merge([]byte(`["early"]`)); err != nil {
		log.Fatal(err)
	}

	second, _, w := open("second")
	defer second.Close(ctx)
	fmt.Println("by state exchange:", <-w.added)
	channel.Broadcast([]byte(`["hello"]`))
	fmt.Println("by broadcast:", <-w.added)

	// Output:
	// by state exchange: early
	// by broadcast: hello
}
