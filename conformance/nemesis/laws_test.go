package nemesis

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/statetest"
)

// nobody is an audience that does not listen.
type nobody struct{ audience }

func (nobody) got(string, string, uint32) {}
func (nobody) damaged(string)             {}

// TestStatesAreSound holds the states of the nodes to what a state is to be, so that
// what is found is no fault of theirs.
func TestStatesAreSound(t *testing.T) {
	for _, key := range allKeys {
		t.Run(key, func(t *testing.T) {
			maker := func(testing.TB) statetest.Subject {
				s := newSet(key, nobody{})
				return statetest.Subject{
					State: s.state(),
					Attach: func(node backend.ClusterChannel, key string) error {
						channel, err := node.AddState(key, s.state(), nil)
						s.mu.Lock()
						defer s.mu.Unlock()
						s.channel = channel
						return err
					},
					Change: func(r *rand.Rand) error { s.write(fmt.Sprint(r.Uint64()), r.IntN(50)); return nil },
				}
			}
			statetest.Check(t, maker, nil)
			statetest.Simulate(t, maker, nil)
		})
	}
}
