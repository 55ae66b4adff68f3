package statetest_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/statetest"
)

// words is a state of a service: a set that only grows.
type words struct {
	mu      sync.Mutex
	all     map[string]bool
	channel backend.Channel
}

func (w *words) attach(node backend.ClusterChannel, key string) (err error) {
	w.channel, err = node.AddState(key, w, nil)
	return err
}

func (w *words) say(word string) {
	w.mu.Lock()
	w.all[word] = true
	w.mu.Unlock()
	w.channel.Broadcast([]byte(word))
}

// MarshalBinary implements backend.State.
func (w *words) MarshalBinary() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []byte(strings.Join(slices.Sorted(maps.Keys(w.all)), " ")), nil
}

// Merge implements backend.State.
func (w *words) Merge(b []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, word := range strings.Fields(string(b)) {
		w.all[word] = true
	}
	return nil
}

// newWords is the statetest.Maker.
func newWords(testing.TB) statetest.Subject {
	w := &words{all: map[string]bool{}}
	return statetest.Subject{
		State:  w,
		Attach: w.attach,
		Change: func(r *rand.Rand) error { w.say(fmt.Sprint(r.IntN(10))); return nil },
	}
}

// The functions below are TestWords and FuzzWords of the package that has the state.
func Example() {
	TestWords := func(t *testing.T) {
		statetest.Check(t, newWords, nil)
		statetest.Simulate(t, newWords, nil)
	}
	FuzzWords := func(f *testing.F) {
		statetest.Fuzz(f, newWords, nil)
	}
	_, _ = TestWords, FuzzWords
}
