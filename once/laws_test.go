package once_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/once"
	"github.com/clusterchannel/clusterchannel/statetest"
)

// results is what a group tells the others, as a state of its own.
func results(testing.TB) statetest.Subject {
	var group *once.Group
	return statetest.Subject{
		Attach: func(node backend.ClusterChannel, key string) (err error) {
			group, err = once.New(node, &once.Options{Key: key, Turn: 10 * time.Millisecond, Logger: quiet})
			return err
		},
		Change: func(r *rand.Rand) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_, err := group.Do(ctx, fmt.Sprint(r.IntN(20)), func(context.Context) ([]byte, error) {
				if r.IntN(4) == 0 {
					return nil, errUnlucky
				}
				return fmt.Append(nil, r.IntN(1000)), nil
			})
			if errors.Is(err, errUnlucky) || errors.Is(err, context.DeadlineExceeded) {
				return nil
			}
			return err
		},
		Close: func() { _ = group.Close(context.Background()) }, // it says that the node is away
	}
}

func TestLaws(t *testing.T) { statetest.Check(t, results, nil) }

func TestSimulated(t *testing.T) { statetest.Simulate(t, results, nil) }

func FuzzResults(f *testing.F) { statetest.Fuzz(f, results, nil) }
