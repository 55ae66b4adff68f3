package backend_test

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"

	"github.com/clusterchannel/clusterchannel/backend"
)

// journal keeps lines in the order in which they arrived, which differs between
// nodes: it needs a digest of its own to tell that it equals another node's.
type journal struct{ lines []string }

func (l *journal) MarshalBinary() ([]byte, error) { return json.Marshal(l.lines) }

func (l *journal) Merge(b []byte) error {
	var lines []string
	if err := json.Unmarshal(b, &lines); err != nil {
		return err
	}
	for _, line := range lines {
		if !slices.Contains(l.lines, line) {
			l.lines = append(l.lines, line)
		}
	}
	return nil
}

// Digest is the sum of the hashes of all lines, which no order changes.
func (l *journal) Digest() (uint64, error) {
	var sum uint64
	for _, line := range l.lines {
		h := fnv.New64a()
		_, _ = h.Write([]byte(line)) // never fails
		sum += h.Sum64()
	}
	return sum, nil
}

var (
	_ backend.State    = (*journal)(nil)
	_ backend.Digester = (*journal)(nil)
)

// States of equal digests are not exchanged.
func ExampleDigester() {
	var a, b journal
	_ = a.Merge([]byte(`["up", "down"]`))
	_ = b.Merge([]byte(`["down"]`))
	_ = b.Merge([]byte(`["up"]`))
	first, _ := a.Digest()
	second, _ := b.Digest()
	fmt.Println(first == second)
	// Output: true
}
