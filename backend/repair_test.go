package backend_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
)

// sink is a state that cannot be marshalled: what it misses is repaired by its
// origin alone.
type sink struct{ got [][]byte }

func (*sink) MarshalBinary() ([]byte, error) { return nil, errors.New("no") }

func (s *sink) Merge(b []byte) error {
	s.got = append(s.got, bytes.Clone(b))
	return nil
}

// A lost update is sent again by its origin, whatever its size, and with nobody's
// state being marshalled.
func TestAnOriginSendsAgain(t *testing.T) {
	for _, size := range []int{1, 1000, 300 << 10, 8 << 20} {
		for name, frame := range map[string]string{"whole": "0", "in chunks": "65536"} {
			t.Run(fmt.Sprintf("%d bytes %s", size, name), func(t *testing.T) {
				bubble(t, func(t *testing.T, bus *memory.Bus) {
					change := func(c *backend.Config) { c.Params["max_frame"] = frame }
					a, b := open(t, bus, "a", change), open(t, bus, "b", change)
					missed := new(sink)
					from, err := a.AddState("s", new(sink), nil)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := b.AddState("s", missed, nil); err != nil {
						t.Fatal(err)
					}
					after(15 * time.Second)
					bus.Cut("a", "b", true)
					lost := bytes.Repeat([]byte("x"), size)
					from.Broadcast(lost)
					synctest.Wait()
					bus.Cut("a", "b", false)
					after(2 * time.Second)
					if len(missed.got) != 1 || !bytes.Equal(missed.got[0], lost) {
						t.Errorf("merged were %d updates", len(missed.got))
					}
				})
			})
		}
	}
}
