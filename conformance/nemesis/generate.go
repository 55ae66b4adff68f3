package nemesis

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// generate returns a random schedule of what a harness can do: the same for the
// same seed. Faults begin within so long.
func generate(seed uint64, can abilities, nodes int, length time.Duration) *Schedule {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1)), Schedule: &Schedule{Seed: seed}, can: can, length: length}
	g.Hold, g.NoSync = g.chance(0.25), g.chance(0.3)
	g.names = Names(nodes)
	if nodes == 0 {
		g.names = g.names[:3+g.IntN(len(g.names)-2)] // few of them find most
	}
	begin := []any{"start"}
	for i, name := range g.names {
		if i < 2 || g.chance(0.8) {
			begin = append(begin, name)
		} else {
			g.add(g.between(0, length), 0, "start", name)
		}
	}
	g.add(0, 0, begin...)
	for wanted := 3 + g.IntN(2+int(length/(2*time.Second))); wanted > 0; {
		at := g.between(time.Second, g.length)
		for together := 1 + g.IntN(3); together > 0 && wanted > 0; {
			if g.fault(at + g.between(0, 500*time.Millisecond)) {
				together--
				wanted--
			}
		}
	}
	g.sort()
	for i, name := range g.names { // so that more than one is there in the end
		if i < 2 || g.chance(0.5) {
			g.add(g.Steps[len(g.Steps)-1].At, 0, "start", name)
		}
	}
	return g.Schedule
}

// Names returns those of the nodes of random schedules with Options.Nodes.
func Names(nodes int) []string {
	if nodes == 0 {
		nodes = 5
	}
	all := make([]string, nodes)
	for i := range all {
		all[i] = string(rune('a' + i))
	}
	return all
}

// generator makes one schedule up.
type generator struct {
	*rand.Rand
	*Schedule
	can    abilities
	names  []string
	length time.Duration
}

func (g *generator) chance(p float64) bool { return g.Float64() < p }

// between returns a random duration, rounded.
func (g *generator) between(lo, hi time.Duration) time.Duration {
	return (lo + time.Duration(g.Int64N(int64(hi-lo)+1))).Round(10 * time.Millisecond)
}

func words(names []string) (all []any) {
	for _, name := range names {
		all = append(all, name)
	}
	return all
}

func pick[T any](g *generator, all ...T) T { return all[g.IntN(len(all))] }

// add appends a step, if the harness can do it. It reports whether it can.
func (g *generator) add(at, length time.Duration, args ...any) bool {
	s := Step{At: at, For: length}
	for _, arg := range args {
		s.Args = append(s.Args, fmt.Sprint(arg))
	}
	if !g.can.can(s) {
		return false
	}
	g.Steps = append(g.Steps, s)
	return true
}

// fault adds something that goes wrong, or changes. It reports whether the harness
// can do it.
func (g *generator) fault(at time.Duration) bool {
	length := g.between(100*time.Millisecond, 3*time.Second)
	if g.chance(0.3) {
		length = g.between(2*time.Second, 8*time.Second)
	}
	a, b, state := pick(g, g.names...), pick(g, g.names...), pick(g, keys...)
	comesBack := func(how string) func() bool {
		return func() bool {
			return g.add(at, 0, how, a) && g.add(at+length, 0, "start", a)
		}
	}
	server := func() bool { return g.add(at, length, "server", pick(g, outages...)) }
	kinds := []func() bool{
		comesBack("kill"), comesBack("kill"), comesBack("leave"),
		func() bool { return g.add(at, 0, "leave", a) && g.add(at+10*time.Millisecond, 0, "start", a) },
		func() bool { // all go at once, and come back
			how := pick(g, "kill", "leave")
			for _, name := range g.names {
				g.add(at, 0, how, name)
			}
			back := append([]any{"start"}, words(g.names)...)
			return g.add(at+g.between(10*time.Millisecond, 3*time.Second), 0, back...)
		},
		func() bool { return g.add(at, length, "cut", a) },
		func() bool { return a != b && g.add(at, length, "cut", a, b) },
		func() bool { return g.add(at, length, "mute", a) },
		func() bool { return g.add(at, length, "deafen", a) },
		func() bool { return g.add(at, length, "halfopen", a) },
		func() bool { return g.add(at, length, "stall", a) },
		func() bool {
			return g.add(at, length, "delay", a, g.between(10*time.Millisecond, 300*time.Millisecond))
		},
		func() bool { return g.add(at, length, "throttle", a, 1<<(12+g.IntN(8))) },
		func() bool { return g.add(at, length, "lose", a, pick(g, 0.01, 0.1, 0.5)) },
		func() bool { return g.add(at, length, "double", a, pick(g, 0.1, 1.0)) },
		func() bool { return g.add(at, length, "twin", a) },
		func() bool { return g.add(at, length, "stop", a) },
		func() bool { return g.add(at, length, "stop", a) },
		func() bool { return g.add(at, 0, "reset", a) },
		func() bool { return g.add(at, 0, "reopen", a) },
		server, server, server,
		func() bool { return g.add(at, length, "block", a, state) },
		func() bool { return !g.NoSync && g.add(at, length, "panic", a, state) }, // only a comparison repairs what Merge refused
		func() bool { return !g.NoSync && g.add(at, length, "refuse", a, state) },
		func() bool { return g.add(at, 0, "flood", a, state, 500<<g.IntN(4)) },
		func() bool { return g.add(at, 0, "large", a, state, 1<<(14+g.IntN(7))) },
		func() bool { return g.add(at, length, "remove", a, state) },
	}
	return kinds[g.IntN(len(kinds))]()
}
