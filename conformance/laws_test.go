package conformance

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/statetest"
)

// TestReferenceStates holds the states of the checks to what they want of a state.
func TestReferenceStates(t *testing.T) {
	for name, see := range map[string]func(*set) backend.State{
		"set":                         func(s *set) backend.State { return s },
		"set that can be taken apart": func(s *set) backend.State { return &entrySet{set: s} },
	} {
		t.Run(name, func(t *testing.T) {
			maker := func(testing.TB) statetest.Subject {
				s := (&node{Node: Node{Name: fmt.Sprint(rand.Uint64())}}).newSet()
				shown := see(s)
				return statetest.Subject{
					State: shown,
					Attach: func(node backend.ClusterChannel, key string) (err error) {
						s.channel, err = node.AddState(key, shown, nil)
						return err
					},
					Change: func(r *rand.Rand) error {
						s.write(fmt.Appendf(nil, "%d", r.Uint64()))
						return nil
					},
					Content: func() string {
						all := s.snapshot()
						text := ""
						for _, key := range slices.Sorted(maps.Keys(all)) {
							text += fmt.Sprintf("%s=%s ", key, all[key])
						}
						return text
					},
				}
			}
			statetest.Check(t, maker, nil)
			statetest.Simulate(t, maker, nil)
		})
	}
}
