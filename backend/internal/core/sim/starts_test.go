package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStartsAtOnce starts three nodes within a second and a half, one of which may stand
// still for a moment, on each kind of network: each is ready 3 s after its attachment,
// and a little that latency and standstill take.
func TestStartsAtOnce(t *testing.T) {
	const each = 200
	for _, net := range []string{"bus", "bus unicast", "mesh", "mesh native", "mesh exchange", "mesh native exchange", "mesh unicast native"} {
		for seed := range uint64(each) {
			r := rand.New(rand.NewPCG(seed, 1))
			between := func(least, most time.Duration) time.Duration {
				return (least + time.Duration(r.Int64N(int64(most-least)))).Truncate(time.Millisecond)
			}
			starts := map[string]time.Duration{"a": 0, "b": between(0, 1500*time.Millisecond), "c": between(0, 1500*time.Millisecond)}
			latency := []string{"1ms", "10ms", "50ms", "200ms"}[r.IntN(4)]
			lines := []string{fmt.Sprintf("seed %d", seed), fmt.Sprintf("net %s latency=%s", net, latency), "states s t"}
			ready := max(starts["b"], starts["c"]) + 4100*time.Millisecond
			if r.IntN(2) == 0 {
				still := between(100*time.Millisecond, time.Second)
				lines = append(lines, fmt.Sprintf("%v for %v pause %c", between(100*time.Millisecond, 3600*time.Millisecond), still, "abc"[r.IntN(3)]))
				ready += still
			}
			for _, name := range []string{"a", "b", "c"} {
				lines = append(lines, fmt.Sprintf("%v start %s", starts[name], name), fmt.Sprintf("%v expect ready %s >= synced", ready, name))
			}
			s, err := Parse(strings.Join(lines, "\n") + "\n")
			if err != nil {
				t.Fatal(err)
			}
			slices.SortStableFunc(s.Steps, func(a, b Step) int { return int(a.At - b.At) })
			if f := Run(s, Look{}).Failure; f != nil {
				t.Errorf("%v in\n%v", f, s)
			}
		}
	}
}
