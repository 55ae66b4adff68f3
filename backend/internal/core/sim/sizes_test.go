package sim

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
)

// sized is a scenario for many nodes, and what it may cost for each of them.
type sized struct {
	name  string
	steps func(names []string) string
	most  map[string]func(n float64) float64 // by the name of a count: the most for the whole cluster
}

// interval is the time between two heartbeats of a node in a cluster of n.
func interval(n float64) float64 { return 0.5 * max(n, 10) / 10 }

// all returns the lines of a step for each node, apart by every.
func all(names []string, from, every time.Duration, step string) string {
	var b strings.Builder
	for i, name := range names {
		fmt.Fprintf(&b, "%v %s\n", from+time.Duration(i)*every, fmt.Sprintf(step, name))
	}
	return b.String()
}

var sizes = []sized{
	{
		name: "idle",
		steps: func(names []string) string {
			last := names[len(names)-1]
			return all(names, 0, time.Millisecond, "start %s") + "60s reset\n90s expect members " + last + fmt.Sprintf(" == %d\n", len(names))
		},
		most: map[string]func(n float64) float64{
			"frames": func(n float64) float64 { return n*(40/interval(n)+1) + 3*3*n }, // 40s, and 3 a comparison
			"bytes":  func(n float64) float64 { return 200 * (n*(40/interval(n)+1) + 3*3*n) },
		},
	},
	{
		name: "join at once", // a half joins the other half, which has a state of 100 kB
		steps: func(names []string) string {
			half := len(names) / 2
			old, young := names[:half], names[half:]
			return all(old, 0, time.Millisecond, "start %s") + all(old, 20*time.Second, 0, "state %s s size=100000") +
				"30s reset\n" + all(young, 30*time.Second, 0, "start %s") + "45s expect ready " + young[0] + " == synced\n45s expect ready " + young[len(young)-1] + " == synced\n"
		},
		most: map[string]func(n float64) float64{
			"frames": func(n float64) float64 { return n/2*20 + n*(15/interval(n)+1) + 100 },
			"bytes":  func(n float64) float64 { return 10*100_000 + n/2*2000 + n*100*(15/interval(n)+1) + 40*n*n },
		},
	},
	{
		name: "rolling restart",
		steps: func(names []string) string {
			return all(names, 0, time.Millisecond, "start %s") + "30s reset\n" + all(names, 30*time.Second, 200*time.Millisecond, "leave %s") +
				all(names, 32*time.Second, 200*time.Millisecond, "start %s")
		},
		most: map[string]func(n float64) float64{
			"frames":      func(n float64) float64 { return n*30 + n*((10+n/5)/interval(n)+2) },
			"note.failed": func(n float64) float64 { return 0 },
		},
	},
	{
		name: "halves",
		steps: func(names []string) string {
			return all(names, 0, time.Millisecond, "start %s") + "30s reset\n30s for 4m split\n" + all(names[:3], 40*time.Second, 0, "say %s s")
		},
		most: map[string]func(n float64) float64{
			"frames": func(n float64) float64 { return n*60 + n*(240/interval(n)*2+2) + 240/30*3*n },
		},
	},
	{
		name: "broker restart",
		steps: func(names []string) string {
			return all(names, 0, time.Millisecond, "start %s") + "60s reset\n60s for 2s broker\n" + all(names[:3], 61*time.Second, 0, "say %s s")
		},
		most: map[string]func(n float64) float64{
			"frames":      func(n float64) float64 { return n*25 + n*(10/interval(n)+2) },
			"note.failed": func(n float64) float64 { return 0 },
		},
	},
}

var large = flag.Bool("large", false, "play in clusters of 300 and 1,000 too")

// TestSizes plays the same in clusters of different sizes, and holds what they
// cost to formulas.
func TestSizes(t *testing.T) {
	ns := []int{3, 30}
	if *large {
		ns = append(ns, 300, 1000)
	}
	for _, c := range sizes {
		for _, n := range ns {
			t.Run(fmt.Sprintf("%s of %d", c.name, n), func(t *testing.T) {
				names := make([]string, n)
				for i := range names {
					names[i] = fmt.Sprintf("n%04d", i)
				}
				s, err := Parse("timing sync=30s\nstates s\n" + c.steps(names))
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				w := newWorld(s)
				w.check.light = n > 30
				for _, step := range s.Steps {
					w.schedule(step)
				}
				w.run(s.end() + 10*time.Second)
				counts := w.tally.counts
				w.tally.counts = map[string]float64{}
				if w.failure == nil {
					w.check.untilRest()
				}
				if w.failure != nil {
					t.Fatal(w.failure)
				}
				for name, most := range c.most {
					t.Logf("%s: %.0f, %.0f at most", name, counts[name], most(float64(n)))
					if counts[name] > most(float64(n)) {
						t.Errorf("%s: %.0f, %.0f at most", name, counts[name], most(float64(n)))
					}
				}
				t.Logf("%v for %v, %.0f deliveries, %.0f bytes delivered, whole %v after", time.Since(began).Round(time.Millisecond), w.now, counts["deliveries"], counts["delivered"], w.check.rested)
			})
		}
	}
}
