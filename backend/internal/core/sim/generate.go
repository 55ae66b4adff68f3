package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"
)

// Generate returns a random scenario: the same for the same seed.
func Generate(seed uint64) *Scenario {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), Scenario: defaults()}
	g.Seed = seed
	g.world()
	g.lives()
	g.load()
	if seed%3 == 1 {
		g.Apart = g.Keys
	}
	for range 3 + g.IntN(13) {
		g.fault()
	}
	g.sort()
	return g.Scenario
}

// generator makes one scenario up.
type generator struct {
	*rand.Rand
	*Scenario
	names []string
	last  time.Duration // when the last fault begins at most
}

func (g *generator) chance(p float64) bool { return g.Float64() < p }

// between returns a random duration, rounded to milliseconds.
func (g *generator) between(lo, hi time.Duration) time.Duration {
	return (lo + time.Duration(g.Int64N(int64(hi-lo)+1))).Round(time.Millisecond)
}

func (g *generator) name() string { return g.names[g.IntN(len(g.names))] }

func (g *generator) key() string { return g.Keys[g.IntN(len(g.Keys))] }

// add appends a step.
func (g *generator) add(at, length time.Duration, args ...any) {
	s := Step{At: at, For: length}
	for _, arg := range args {
		s.Args = append(s.Args, fmt.Sprint(arg))
	}
	g.Steps = append(g.Steps, s)
}

// world chooses what does not change.
func (g *generator) world() {
	switch {
	case g.chance(0.5):
		g.Net.Unicast = g.chance(0.5)
		if g.chance(0.2) {
			g.Net.Replay = 1 + g.IntN(100)
		}
	case g.chance(0.7):
		g.Net.Mesh, g.Net.Native, g.Net.Unicast = true, true, true
		g.Net.Exchange = g.chance(0.5)
	default:
		g.Net.Native = true
	}
	if g.chance(0.2) {
		g.Net.Copies = g.between(100*time.Millisecond, 5*time.Second)
	}
	if g.chance(0.2) {
		g.Net.MaxFrame = 100 + g.IntN(2000)
	}
	g.Net.Latency = g.between(time.Millisecond, 10*time.Millisecond)
	switch {
	case g.chance(0.3):
		g.Timing.Sync = 0
	case g.chance(0.2):
		g.Timing.Sync = g.between(3*time.Second, 20*time.Second)
	}
	g.Timing.Hold = g.chance(0.25)
	if g.chance(0.5) {
		g.Timing.Drift = 0.02
	}
	g.Keys = []string{"s", "t", "u", "v"}[:1+g.IntN(4)]
	n := 3 + g.IntN(4)
	g.last = g.between(time.Minute, 5*time.Minute) - 20*time.Second
	if g.chance(0.1) {
		n = 8 + g.IntN(9)
		g.last = 40 * time.Second
	}
	for i := range n {
		g.names = append(g.names, string(rune('a'+i)))
	}
}

// lives starts the nodes: most at the beginning, some with a part of the states.
func (g *generator) lives() {
	for i, name := range g.names {
		at := g.between(0, 2*time.Second)
		if i >= 2 && g.chance(0.2) {
			at = g.between(0, g.last)
		}
		if len(g.Keys) > 1 && g.chance(0.15) {
			name += "=" + g.key()
		}
		g.add(at, 0, "start", name)
	}
}

// load has nodes say things, all along.
func (g *generator) load() {
	for range 3 + g.IntN(10) {
		every := g.between(2*time.Millisecond, time.Second)
		g.add(g.between(0, g.last), 0, "say", g.name(), g.key(), 1+g.IntN(100), every)
	}
}

// fault adds something that goes wrong, or changes.
func (g *generator) fault() {
	at := g.between(3*time.Second, g.last)
	length := g.between(100*time.Millisecond, 15*time.Second)
	if g.chance(0.2) {
		length = g.between(10*time.Second, 60*time.Second)
	}
	a, b := g.name(), g.name()
	all := []func(){
		func() { // it goes, and mostly comes again
			how := []any{"crash", a}
			if g.chance(0.5) {
				how[0] = "leave"
			}
			g.add(at, 0, how...)
			g.add(at+length, 0, "start", a)
		},
		func() {
			if len(g.names) > 3 {
				g.add(at, 0, []any{"crash", "leave"}[g.IntN(2)], g.names[len(g.names)-1])
				g.names = g.names[:len(g.names)-1]
			}
		},
		func() { g.add(at, 0, "restart", a, g.between(0, 2*time.Second)) },
		func() { g.add(at, length, "pause", a) },
		func() { g.add(at, length, "cut", a, "|", b) },
		func() { g.add(at, length, "oneway", a, ">", b) },
		func() { g.add(at, length, "oneway", a, ">", "*") },
		func() { g.add(at, length, "oneway", "*", ">", a) },
		func() { g.add(at, length, "split") },
		func() { g.add(at, length, "loss", []any{0.01, 0.1, 0.3}[g.IntN(3)]) },
		func() { g.add(at, length, "loss", []any{0.1, 0.5, 0.9}[g.IntN(3)], a, ">", b) },
		func() { g.add(at, length, "duplicate", []any{0.1, 0.5}[g.IntN(2)]) },
		func() { g.add(at, length, "swap", []any{0.1, 0.5, 1}[g.IntN(3)]) },
		func() { g.add(at, length, "delay", g.between(5*time.Millisecond, 400*time.Millisecond)) },
		func() {
			g.add(at, length, "state", a, g.key(), "merge="+g.between(time.Millisecond, 3*time.Second).String())
		},
		func() {
			g.add(at, length, "state", a, "*", "marshal="+g.between(time.Millisecond, 4*time.Second).String())
		},
		func() { g.add(at, length, "state", a, g.key(), "hung") },
		func() { g.add(at, length, "state", a, g.key(), "broken") },
		func() { g.add(at, length, "state", a, g.key(), fmt.Sprintf("size=%d", 1000<<g.IntN(10))) },
		func() { g.add(at, length, "state", a, g.key(), fmt.Sprintf("room=%d", 1+g.IntN(20))) },
		func() { g.add(at, length, "late", a, g.between(time.Millisecond, 100*time.Millisecond)) },
		func() {
			key, back := g.key(), g.key()
			if g.Timing.Sync == 0 { // nobody tells what was said for a state that its origin has no more
				back = key
			}
			g.add(at, 0, "remove", a, key)
			g.add(at+length, 0, "add", a, back)
		},
		func() {
			key := "w"
			g.add(at, 0, "add", a, key)
			g.add(at+length, 0, "add", b, key)
			g.add(at+length, 0, "say", a, key, 3)
		},
		func() { g.add(at, 0, "without", a, "Missing", "Void", "Kept") },
		func() { g.add(at, 0, "move", a) },
	}
	if len(g.Apart) > 0 {
		all = append(all,
			func() { g.add(at, length, "state", a, g.key(), "gone=0.3") },
			func() { g.add(at, 0, "without", a, "Walk", "Walked") },
			func() { g.add(at, length, "loss", 0.1, a, ">", b); g.add(at, 0, "keep", b, g.key()) })
	}
	if g.Net.Native {
		all = append(all,
			func() { g.add(at, length, "hide", a, b) },
			func() { g.add(at, length, "ghost", a, b) })
	}
	if g.Net.Unicast {
		all = append(all, func() { g.add(at, length, "refuse", a, ">", b) })
	}
	if !g.Net.Mesh {
		bus := []func(){
			func() { g.add(at, length, "broker") },
			func() { g.add(at, length, "hang") },
			func() { g.add(at, length, "slow", a, g.between(time.Millisecond, 20*time.Millisecond)) },
			func() { g.add(at, 0, "relink", a, 1+g.IntN(10), g.between(100*time.Millisecond, 5*time.Second)) },
		}
		all = append(all, append(bus, bus...)...)
	}
	if g.Timing.Sync > 0 { // such as only a comparison repairs
		all = append(all,
			func() { g.add(at, 0, "keep", a, g.key()) },
			func() { g.add(at, length, "state", a, g.key(), "shifty") },
			func() { g.add(at, length, "state", a, g.key(), "undigested") },
			func() { g.add(at, length, "state", a, g.key(), "refuses=0.2") })
		if g.Seed%5 == 0 { // the promises that hold for honest nodes are not held to in these
			names := slices.AppendSeq(slices.Collect(maps.Keys(attacks)), maps.Keys(forgeries))
			slices.Sort(names)
			hostile := func() {
				if g.chance(0.2) {
					g.add(at, length, "mad", a)
					return
				}
				kind := names[g.IntN(len(names))]
				args := []any{"stranger", kind, a}
				switch kind {
				case "last", "update", "kept", "departed":
					args = append(args, g.key(), 1<<g.IntN(45))
				case "missing":
					args = append(args, g.key(), 20)
				case "incarnation":
					args = append(args, 1<<g.IntN(20))
				case "pulls", "names", "keys", "list", "answers", "nonsense", "again", "walks":
					args = append(args, 1<<g.IntN(8))
				}
				g.add(at, 0, args...)
			}
			for range 10 {
				all = append(all, hostile)
			}
		}
	}
	all[g.IntN(len(all))]()
}
