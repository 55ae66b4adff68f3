package nemesis

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
)

var all = abilities{proxies: true, pairs: true, processes: true, twins: true, outages: outages}

// A schedule is the same for the same seed, and is read as it is written.
func TestGenerate(t *testing.T) {
	used := map[string]bool{}
	for seed := range uint64(2000) {
		s := generate(seed, all, 0, 20*time.Second)
		again, err := Parse(s.String())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, s)
		}
		if text := generate(seed, all, 0, 20*time.Second).String(); text != s.String() || again.String() != text {
			t.Fatalf("seed %d: %s\n%s\n%s", seed, s, text, again)
		}
		for _, step := range s.Steps {
			used[step.Args[0]] = true
		}
		for _, step := range generate(seed, abilities{}, 2, time.Second).Steps {
			if !(abilities{}).can(step) {
				t.Fatalf("seed %d: %q needs a hook", seed, step)
			}
		}
	}
	if missing := len(actions) - len(used); missing > 0 {
		t.Errorf("%d kinds of steps are never made: %v of %v", missing, slices.Sorted(maps.Keys(used)), slices.Sorted(maps.Keys(actions)))
	}
}

func TestParseRefuses(t *testing.T) {
	for line, want := range map[string]string{
		"":                         "no steps",
		"seed x":                   "seed x",
		"soon start a":             "neither a time",
		"1s":                       "nothing is to be done",
		"1s dance a":               "no such step: dance",
		"1s start A":               `"A" is no NODE`,
		"1s start":                 "more words",
		"1s cut a":                 "needs an end",
		"1s for 1s kill a":         "has no end",
		"1s for soon cut a":        "soon",
		"1s for 1s cut a b c":      `"c" is no nothing`,
		"1s for 1s lose a 2":       `"2" is no PART`,
		"1s for 1s delay a -1s":    "is no DURATION",
		"1s for 1s block a nobody": "is no STATE",
		"1s for 1s server explode": "is no HOW",
		"1s flood a s 0":           "is no NUMBER",
		"-1s start a":              "negative",
	} {
		if _, err := Parse(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

// TestUsages holds the table of the steps in the documentation to the code.
func TestUsages(t *testing.T) {
	text, err := os.ReadFile("../../docs/robustness.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range actions {
		if row := fmt.Sprintf("| `%s` |", strings.TrimSpace(name+" "+a.usage)); !strings.Contains(string(text), row) {
			t.Errorf("docs/robustness.md lacks %s", row)
		}
	}
	for _, p := range promises {
		if row := fmt.Sprintf("| `%s` | %s |", p.name, p.holds); !strings.Contains(string(text), row) {
			t.Errorf("docs/robustness.md lacks %s", row)
		}
	}
}

func TestShrink(t *testing.T) {
	s := generate(7, all, 3, time.Minute)
	s.Steps = append(s.Steps, Step{At: time.Second, Args: []string{"kill", "a"}}, Step{At: 2 * time.Second, Args: []string{"leave", "b"}})
	both := func(s *Schedule) bool {
		text := s.String()
		return strings.Contains(text, "start") && strings.Contains(text, "kill a") && strings.Contains(text, "leave b")
	}
	small := shrink(s, time.Now().Add(time.Minute), both)
	if small == nil || len(small.Steps) != 3 || !both(small) {
		t.Errorf("%d steps became\n%s", len(s.Steps), small)
	}
	if small := shrink(s, time.Now(), both); small != nil {
		t.Errorf("without time it is\n%s", small)
	}
}

// A violation leaves a folder from which it is seen again.
func TestFolder(t *testing.T) {
	h, altering := memoryHarness(), decorated(func(c *bentChannel) { c.alters = true })
	o := Options{Seed: 3, Length: 2 * time.Second, Nodes: 2, Shrink: time.Second, Dir: t.TempDir(), bounds: &hasty, beside: true, channel: altering}
	r, err := run(t.Context(), h, h.Server(t), o)
	if err != nil || len(r.Violations) != 1 {
		t.Fatalf("%v, %v", r.Violations, err)
	}
	folder := r.Violations[0].Folder
	for _, pattern := range []string{"violation.txt", "story.txt", "schedule.txt", "shrunk.txt", "a.*.log", "a.*.views"} {
		files, _ := filepath.Glob(filepath.Join(folder, pattern))
		if len(files) == 0 {
			t.Errorf("%s has no %s", folder, pattern)
			continue
		}
		if text, err := os.ReadFile(files[0]); err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", files[0], len(text), err)
		}
	}
	s, err := Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	if before := len(r.Violations[0].Schedule.Steps); len(s.Steps) >= before {
		t.Errorf("%d steps were shrunk to %d", before, len(s.Steps))
	}
	o.Replay = s
	again, err := run(t.Context(), h, h.Server(t), o)
	if err != nil || len(again.Violations) != 1 || again.Violations[0].Promise != r.Violations[0].Promise {
		t.Errorf("played again: %v, %v", again.Violations, err)
	}
	if n := again.Count(); n[conformance.Failed] != 1 {
		t.Errorf("%d promises are reported as broken", n[conformance.Failed])
	}
}
