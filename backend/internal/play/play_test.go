// Package play_test plays the simulator's scenarios with real nodes: channels that
// are opened by package backend, with all their goroutines, on a driver that is a
// model network, in virtual time. So the model of a node in package sim is held to
// the code that ships. The promises at the end are the simulator's own.
package play_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend/internal/core/sim"
)

var (
	firstSeed = flag.Uint64("seed", 1, "of the first random schedule")
	schedules = flag.Int("schedules", 0, "how many random schedules are played; 0: a few dozen, or with -short a few")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// unplayed are the scenarios that real nodes cannot be in, each with the reason.
var unplayed = map[string]string{
	"pause-long":  "a goroutine cannot be made to stand still",
	"pause-short": "a goroutine cannot be made to stand still",
	"foreign":     "its member speaks Alertmanager's protocol",
	"forgotten":   "it looks into the core",
	"drift":       "virtual time is one clock",
}

// TestScripts plays the scripted scenarios.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("../core/sim/testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scenarios: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		if unplayed[name] != "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := sim.Parse(string(text))
			if err != nil {
				t.Fatal(err)
			}
			play(t, s)
		})
	}
}

// TestSchedules plays random schedules.
func TestSchedules(t *testing.T) {
	n := uint64(*schedules)
	switch {
	case n > 0:
	case testing.Short():
		n = 8
	default:
		n = 32
	}
	for seed := *firstSeed; seed < *firstSeed+n; seed++ {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := sim.Generate(seed)
			s.Steps = slices.DeleteFunc(s.Steps, func(s sim.Step) bool { return s.Args[0] == "pause" })
			play(t, s)
		})
	}
}
