package sim

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// sized is a scenario for many nodes, and what it may cost for each of them.
type sized struct {
	name  string
	steps func(names []string) string
	most  map[string]func(n float64) float64 // by the name of a count: the most for the whole cluster
	says  map[string]string                  // the same, as docs/protocol.md says it
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
			"frames": func(n float64) float64 { return n * (40/interval(n) + 10) }, // 40s, and 3 a comparison
			"bytes":  func(n float64) float64 { return 200 * n * (40/interval(n) + 10) },
		},
		says: map[string]string{"frames": "N x (40 s / interval + 10)", "bytes": "200 x N x (40 s / interval + 10)"},
	},
	{
		name: "join at once", // a half joins the other half, which has a state of 100 kB
		steps: func(names []string) string {
			half := len(names) / 2
			old, young := names[:half], names[half:]
			return all(old, 0, time.Millisecond, "start %s") + all(old, 20*time.Second, 0, "state %s s size=100000") +
				"21s say " + old[0] + " s\n30s reset\n" + all(young, 30*time.Second, 0, "start %s") + "45s expect ready " + young[0] + " == synced\n45s expect ready " + young[len(young)-1] + " == synced\n45s whole\n"
		},
		most: map[string]func(n float64) float64{
			"frames": func(n float64) float64 { return n*(15/interval(n)+11) + 100 },
			"bytes":  func(n float64) float64 { return 5*100_000 + 100*n*(15/interval(n)+11) }, // the state five times, however many join
		},
		says: map[string]string{"frames": "N x (15 s / interval + 11) + 100", "bytes": "5 x 100 kB + 100 x N x (15 s / interval + 11)"},
	},
	{
		name: "rolling restart",
		steps: func(names []string) string {
			return all(names, 0, time.Millisecond, "start %s") + "30s reset\n" + all(names, 30*time.Second, 200*time.Millisecond, "leave %s") +
				all(names, 32*time.Second, 200*time.Millisecond, "start %s")
		},
		most: map[string]func(n float64) float64{
			"frames":      func(n float64) float64 { return n * ((10+n/5)*(1/interval(n)+2.0/30) + 24) },
			"note.failed": func(n float64) float64 { return 0 },
		},
		says: map[string]string{"frames": "N x ((10 s + N x 0.2 s) x (1 / interval + 2 / sync) + 24)", "note.failed": "0"},
	},
	{
		name: "halves",
		steps: func(names []string) string {
			return all(names, 0, time.Millisecond, "start %s") + "30s reset\n30s for 4m split\n" + all(names[:3], 40*time.Second, 0, "say %s s")
		},
		most: map[string]func(n float64) float64{
			"frames": func(n float64) float64 { return n * (480/interval(n) + 86) },
		},
		says: map[string]string{"frames": "N x (480 s / interval + 86)"},
	},
	{
		name: "broker restart",
		steps: func(names []string) string {
			return all(names, 0, time.Millisecond, "start %s") + "60s reset\n60s for 2s broker\n" + all(names[:3], 61*time.Second, 0, "say %s s")
		},
		most: map[string]func(n float64) float64{
			"frames":      func(n float64) float64 { return n * (10/interval(n) + 27) },
			"note.failed": func(n float64) float64 { return 0 },
		},
		says: map[string]string{"frames": "N x (10 s / interval + 27)", "note.failed": "0"},
	},
}

var large = flag.Bool("large", false, "play in clusters of 300 and 1,000 too")

// measuredAt are the columns of the document's table.
var measuredAt = []int{3, 30, 300, 1000}

// documented returns the rows of the table of docs/protocol.md, by the scenario and what
// is counted: the formula, and what was measured at each size.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n### Sizes\n")
	table, _, _ = strings.Cut(table, "\n## ")
	rows := map[string][]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) == 3+len(measuredAt) {
			rows[cells[0]+", "+cells[1]] = cells[2:]
		}
	}
	return rows
}

// TestSizes plays the same in clusters of different sizes, and holds what they
// cost to formulas, and the document to both.
func TestSizes(t *testing.T) {
	rows := documented(t)
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
				w.run(s.End() + 10*time.Second)
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
					row := rows[c.name+", "+strings.TrimPrefix(name, "note.")]
					if row == nil || row[0] != c.says[name] {
						t.Errorf("%s: docs/protocol.md says %q, not %q", name, row, c.says[name])
						continue
					}
					cell := row[1+slices.Index(measuredAt, n)]
					if cell == "" {
						continue // the formula alone is held
					}
					said, err := strconv.ParseFloat(strings.ReplaceAll(cell, ",", ""), 64)
					if err != nil || counts[name] > 1.25*said || counts[name] < 0.8*said {
						t.Errorf("%s: docs/protocol.md says %v of %d, and it is %.0f", name, said, n, counts[name])
					}
				}
				t.Logf("%v for %v, %.0f deliveries, %.0f bytes delivered, whole %v after", time.Since(began).Round(time.Millisecond), w.now, counts["deliveries"], counts["delivered"], w.check.rested)
			})
		}
	}
}
