package scheduler

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/statetest"
)

// boards makes boards of a few groups that several members evaluate.
func boards(testing.TB) statetest.Subject {
	b := newBoard(func([]snapshot) {})
	var channel backend.Channel
	return statetest.Subject{
		State: b,
		Attach: func(node backend.ClusterChannel, key string) (err error) {
			channel, err = node.AddState(key, b, nil)
			return err
		},
		Change: func(r *rand.Rand) error {
			s := b.next(fmt.Sprint("group ", r.IntN(4)), fmt.Sprint("writer ", r.Uint64()), nil)
			update, err := encode(s)
			if err == nil {
				err = b.Merge(update)
			}
			if err == nil {
				channel.Broadcast(update)
			}
			return err
		},
		Content: func() string {
			var all []string
			for _, s := range b.all() {
				all = append(all, fmt.Sprint(s.Group, s.Writer, s.Revision))
			}
			slices.Sort(all)
			return strings.Join(all, "\n")
		},
	}
}

func TestBoard(t *testing.T) {
	statetest.Check(t, boards, nil)
	statetest.Simulate(t, boards, nil)
}
