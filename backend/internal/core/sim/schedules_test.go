package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	firstSeed = flag.Uint64("seed", 1, "of the first random schedule")
	schedules = flag.Int("schedules", 0, "how many random schedules are played; 0: a few")
	playFor   = flag.Duration("for", 0, "how long random schedules are played, in place of their number")
	keepGoing = flag.Bool("keepgoing", false, "play on after a failure")
	saveTo    = flag.String("save", "", "directory for the shrunk schedules that fail")
	noShrink  = flag.Bool("noshrink", false, "report the first failure as it is")
)

// TestSchedules plays random schedules. What it prints of a failure is a file for
// testdata/found.
func TestSchedules(t *testing.T) {
	n := *schedules
	switch {
	case n > 0:
	case *playFor > 0:
		n = 1 << 62
	case testing.Short():
		n = 50
	default:
		n = 200
	}
	p := &player{t: t, count: uint64(n), covered: map[string]int{}}
	if *playFor > 0 {
		p.end = time.Now().Add(*playFor)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // many small worlds, none of which is kept
	began := time.Now()
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(p.work)
	}
	workers.Wait()
	took := time.Since(began)
	t.Logf("%d schedules, %.1f a second; %.0f hours of nodes, %d failures", p.played, float64(p.played)/took.Seconds(), p.hours, p.failures)
	if len(p.rested) > 0 {
		slices.Sort(p.rested)
		t.Logf("whole after the last fault: half within %v, 99 %% within %v, all within %v", p.rested[len(p.rested)/2], p.rested[len(p.rested)*99/100], p.rested[len(p.rested)-1])
	}
	p.coverage()
}

// player plays schedules on several goroutines.
type player struct {
	t     *testing.T
	next  atomic.Uint64
	count uint64
	end   time.Time

	mu       sync.Mutex
	played   int
	failures int
	hours    float64
	rested   []time.Duration
	covered  map[string]int
}

func (p *player) work() {
	for {
		i := p.next.Add(1) - 1
		if i >= p.count || !p.end.IsZero() && time.Now().After(p.end) || !*keepGoing && p.failed() {
			return
		}
		s := Generate(*firstSeed + i)
		p.add(s, Run(s, Look{Pure: s.Seed%50 == 0}))
	}
}

func (p *player) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failures > 0
}

func (p *player) add(s *Scenario, r *Result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.played++
	p.hours += r.Ran.Hours() * float64(r.Nodes)
	for name, n := range r.Covered {
		p.covered[name] += n
	}
	if r.Failure == nil {
		p.rested = append(p.rested, r.Rested)
		return
	}
	p.failures++
	if *noShrink {
		p.t.Errorf("seed %d (%v): %v", s.Seed, s.Net, r.Failure)
		return
	}
	small := Shrink(s, r.Failure, 300)
	small.Comment = []string{Run(small, Look{}).Failure.Error()}
	if *saveTo != "" {
		if err := os.WriteFile(filepath.Join(*saveTo, fmt.Sprintf("seed-%d.txt", s.Seed)), []byte(small.String()), 0o666); err != nil {
			p.t.Error(err)
		}
		p.t.Errorf("seed %d: %v", s.Seed, small.Comment[0])
		return
	}
	report(p.t, small, Run(small, Look{}))
}
