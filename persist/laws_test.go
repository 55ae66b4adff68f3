package persist

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/replicated"
	"github.com/clusterchannel/clusterchannel/statetest"
)

// A state that is kept is to the cluster what it is without a store.
func TestKeptStates(t *testing.T) {
	for name, see := range map[string]func(*replicated.Set[int]) backend.State{
		"with a digest of its own": func(s *replicated.Set[int]) backend.State { return s },
		"by its entries":           func(s *replicated.Set[int]) backend.State { return struct{ backend.EntryState }{s} },
	} {
		t.Run(name, func(t *testing.T) {
			maker := func(t testing.TB) statetest.Subject {
				s, err := replicated.NewSet[int](nil)
				if err != nil {
					t.Fatal(err)
				}
				shown := newKept(place{}, see(s)).shared()
				return statetest.Subject{
					State: shown, Close: s.Close,
					Attach: func(node backend.ClusterChannel, key string) error {
						return s.Attach(keeps{node, shown}, key)
					},
					Change: func(r *rand.Rand) error {
						if r.IntN(3) == 0 {
							return s.Remove(r.IntN(4))
						}
						return s.Add(r.IntN(4))
					},
					Content: func() string { return fmt.Sprint(slices.Sorted(s.All())) },
				}
			}
			statetest.Check(t, maker, nil)
			statetest.Simulate(t, maker, nil)
		})
	}
}

// keeps is a node of which the state is kept.
type keeps struct {
	backend.ClusterChannel
	kept backend.State
}

func (k keeps) AddState(key string, _ backend.State, o *backend.StateOptions) (backend.Channel, error) {
	return k.ClusterChannel.AddState(key, k.kept, o)
}
