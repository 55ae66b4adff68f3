package sim

import (
	"flag"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

const (
	transitions = "testdata/transitions"
	// rare are those that fewer than one schedule in 10,000 takes, and no script: most
	// want something that was due to be done by another event than the tick which
	// was meant for it, since a process stood still just then. They do not count.
	rare = transitions + ".rare"
)

var updateTransitions = flag.Bool("transitions", false, "add the transitions that are taken, here and by the scripts, to "+transitions)

// enough is from how many schedules on most transitions are to be taken.
const enough = 10_000

// readTransitions returns those that a file lists.
func readTransitions(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for name := range strings.Lines(string(text)) {
		known[strings.TrimSpace(name)] = true
	}
	return known
}

// coverage prints which of the core's transitions the schedules took, with the scripts
// where there were enough schedules, and wants it to be nearly all that can be. One
// that is not listed yet counts too.
func (p *player) coverage() {
	p.t.Helper()
	known, taken := readTransitions(p.t, transitions), maps.Clone(p.covered)
	if p.played >= enough || *updateTransitions {
		for _, file := range scripts(p.t) {
			for name := range Run(read(p.t, file), Look{}).Covered {
				taken[name]++
			}
		}
	}
	for name := range taken {
		if !known[name] {
			p.t.Logf("%s, taken %d times, is not in %s: -transitions adds it", name, taken[name], transitions)
			known[name] = true
		}
	}
	if *updateTransitions {
		if err := os.WriteFile(transitions, []byte(strings.Join(slices.Sorted(maps.Keys(known)), "\n")+"\n"), 0o666); err != nil {
			p.t.Error(err)
		}
	}
	for name := range readTransitions(p.t, rare) {
		delete(known, name)
		delete(taken, name)
	}
	all := len(known)
	for name := range taken {
		delete(known, name)
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		p.t.Logf("not taken: %s", name)
	}
	share := float64(len(taken)) / float64(all)
	p.t.Logf("took %.1f %% of %d transitions", 100*share, all)
	if share < 0.95 && p.played >= enough {
		p.t.Errorf("took only %.1f %% of the transitions", 100*share)
	}
}
