package sim

import (
	"flag"
	"os"
	"slices"
	"strings"
)

const transitions = "testdata/transitions"

var updateTransitions = flag.Bool("transitions", false, "add the transitions that are taken to "+transitions)

// enough is from how many schedules on most transitions are to be taken.
const enough = 1000

// coverage prints which of the core's transitions the schedules took, and wants
// it to be nearly all of those that are known.
func (p *player) coverage() {
	p.t.Helper()
	text, err := os.ReadFile(transitions)
	if err != nil {
		p.t.Fatal(err)
	}
	known := strings.Split(strings.TrimSpace(string(text)), "\n")
	if *updateTransitions {
		for name := range p.covered {
			known = append(known, name)
		}
		slices.Sort(known)
		known = slices.DeleteFunc(slices.Compact(known), func(name string) bool { return name == "" })
		if err := os.WriteFile(transitions, []byte(strings.Join(known, "\n")+"\n"), 0o666); err != nil {
			p.t.Error(err)
		}
	}
	var missing []string
	for _, name := range known {
		if p.covered[name] == 0 {
			missing = append(missing, name)
		}
	}
	for name, n := range p.covered {
		if !slices.Contains(known, name) {
			p.t.Logf("%s, taken %d times, is not in %s", name, n, transitions)
		}
	}
	taken := float64(len(known)-len(missing)) / float64(len(known))
	p.t.Logf("took %.1f %% of %d transitions", 100*taken, len(known))
	for _, name := range missing {
		p.t.Logf("not taken: %s", name)
	}
	if taken < 0.95 && p.played >= enough {
		p.t.Errorf("took only %.1f %% of the transitions", 100*taken)
	}
}
