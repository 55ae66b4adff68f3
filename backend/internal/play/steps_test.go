package play_test

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/codec"
	"github.com/clusterchannel/clusterchannel/backend/internal/core/sim"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// steps are what the lines of a scenario do, by their first word. Each returns what
// ends it, or nil. The simulator's own comments say what they mean.
var steps = map[string]func(w *world, args []string) func(){
	"start":   stepStart,
	"crash":   stepCrash,
	"leave":   stepLeave,
	"restart": stepRestart,
	"without": stepWithout,

	"say":    stepSay,
	"keep":   stepKeep,
	"add":    stepAdd,
	"remove": stepRemove,
	"state":  stepState,
	"late":   stepLate,

	"cut":       stepCut,
	"oneway":    stepOneWay,
	"split":     stepSplit,
	"loss":      stepLoss,
	"duplicate": stepDuplicate,
	"swap":      stepSwap,
	"delay":     stepDelay,
	"refuse":    stepRefuse,
	"slow":      stepSlow,
	"broker":    stepBroker,
	"hang":      stepHang,
	"relink":    stepRelink,
	"hide":      stepHide,
	"ghost":     stepGhost,
	"move":      stepMove,

	"stranger": stepStranger,
	"mad":      stepMad,

	"reset":  stepReset,
	"expect": stepExpect,
	"whole":  stepWhole,
}

func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return d
}

func part(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic(err)
	}
	return f
}

// times calls do as often, and in such steps, as args say: once without any.
func (w *world) times(args []string, do func()) {
	count, every := 1, time.Duration(0)
	if len(args) > 0 {
		count = int(part(args[0]))
	}
	if len(args) > 1 {
		every = duration(args[1])
	}
	for i := range count {
		w.at(w.now()+time.Duration(i)*every, do)
	}
}

// each calls do with the process of each name, if it runs.
func (w *world) each(names []string, do func(p *process)) {
	for _, name := range names {
		if p := w.live[name]; p != nil {
			do(p)
		}
	}
}

func stepStart(w *world, args []string) func() {
	for _, arg := range args {
		name, keys, some := strings.Cut(arg, "=")
		if some {
			w.start(name, strings.Split(keys, ","))
		} else {
			w.start(name, nil)
		}
	}
	return nil
}

func stepCrash(w *world, args []string) func() {
	w.each(args, (*process).kill)
	return nil
}

func stepLeave(w *world, args []string) func() {
	w.each(args, (*process).leave)
	return nil
}

func stepRestart(w *world, args []string) func() {
	var wait time.Duration
	if len(args) > 1 {
		wait = duration(args[1])
	}
	w.each(args[:1], func(p *process) {
		var keys []string
		for key := range p.states {
			keys = append(keys, key)
		}
		p.kill()
		w.at(w.now()+wait, func() { w.start(p.name, keys) })
	})
	return nil
}

func stepWithout(w *world, args []string) func() {
	w.each(args[:1], func(p *process) { w.net.without(p, args[1:]) })
	return nil
}

func stepSay(w *world, args []string) func() {
	w.times(args[2:], func() { w.each(args[:1], func(p *process) { p.say(args[1]) }) })
	return nil
}

func stepKeep(w *world, args []string) func() {
	w.each(args[:1], func(p *process) {
		if st := p.states[args[1]]; st != nil {
			st.set.add(w.newEntry(p.instance, args[1], true))
		}
	})
	return nil
}

func stepAdd(w *world, args []string) func() {
	w.each(args[:1], func(p *process) { p.addState(args[1]) })
	return nil
}

func stepRemove(w *world, args []string) func() {
	w.each(args[:1], func(p *process) { p.removeState(args[1]) })
	return nil
}

func stepState(w *world, args []string) func() {
	var ends []func()
	how := slices.Clone(args[2:])
	w.each(args[:1], func(p *process) {
		for key, st := range p.states {
			if args[1] != "*" && args[1] != key {
				continue
			}
			st.behave(func(odd []*[]string) []*[]string { return append(odd, &how) })
			ends = append(ends, func() {
				st.behave(func(odd []*[]string) []*[]string {
					return slices.DeleteFunc(odd, func(o *[]string) bool { return o == &how })
				})
			})
		}
	})
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

func stepLate(w *world, args []string) func() {
	set := func(d time.Duration) { w.each(args[:1], func(p *process) { p.late = d }) }
	set(duration(args[1]))
	return func() { set(0) }
}

// sides returns the names before and after sep; empty is any.
func sides(args []string, sep string) (a, b []string) {
	i := slices.Index(args, sep)
	if i < 0 {
		return []string{""}, []string{""}
	}
	a, b = slices.Clone(args[:i]), slices.Clone(args[i+1:])
	for _, names := range [][]string{a, b} {
		for j, name := range names {
			if name == "*" {
				names[j] = ""
			}
		}
	}
	return a, b
}

// along changes the conditions of all paths from a to b, and of those back where
// both is set. What it returns undoes that.
func (w *world) along(a, b []string, both bool, do, undo func(c *condition)) func() {
	change := func(f func(c *condition)) {
		w.net.change(a, b, f)
		if both {
			w.net.change(b, a, f)
		}
	}
	change(do)
	return func() { change(undo) }
}

func stepCut(w *world, args []string) func() {
	a, b := sides(args, "|")
	return w.along(a, b, true, func(c *condition) { c.cut++ }, func(c *condition) { c.cut-- })
}

func stepOneWay(w *world, args []string) func() {
	a, b := sides(args, ">")
	return w.along(a, b, false, func(c *condition) { c.cut++ }, func(c *condition) { c.cut-- })
}

func stepSplit(w *world, args []string) func() {
	groups := map[string]int{}
	for i, name := range w.names {
		groups[name] = i % 2
	}
	w.net.split(groups)
	return func() { w.net.split(nil) }
}

func stepLoss(w *world, args []string) func() {
	a, b := sides(args[1:], ">")
	return w.along(a, b, false, func(c *condition) { c.loss = part(args[0]) }, func(c *condition) { c.loss = 0 })
}

func stepDuplicate(w *world, args []string) func() {
	a, b := sides(args[1:], ">")
	return w.along(a, b, false, func(c *condition) { c.duplicates = part(args[0]) }, func(c *condition) { c.duplicates = 0 })
}

func stepSwap(w *world, args []string) func() {
	a, b := sides(args[1:], ">")
	return w.along(a, b, false, func(c *condition) { c.swaps = part(args[0]) }, func(c *condition) { c.swaps = 0 })
}

func stepDelay(w *world, args []string) func() {
	a, b := sides(args[1:], ">")
	return w.along(a, b, false, func(c *condition) { c.delay = duration(args[0]) }, func(c *condition) { c.delay = 0 })
}

func stepRefuse(w *world, args []string) func() {
	a, b := sides(args, ">")
	return w.along(a, b, false, func(c *condition) { c.refused++ }, func(c *condition) { c.refused-- })
}

func stepSlow(w *world, args []string) func() {
	set := func(d time.Duration) { w.each(args[:1], func(p *process) { w.net.slow(p, d) }) }
	set(duration(args[1]))
	return func() { set(0) }
}

func stepBroker(w *world, args []string) func() {
	w.net.stop()
	return w.net.restart
}

func stepHang(w *world, args []string) func() {
	w.net.hang(true)
	return func() { w.net.hang(false) }
}

func stepRelink(w *world, args []string) func() {
	w.times(args[1:], func() { w.each(args[:1], w.net.relink) })
	return nil
}

func stepHide(w *world, args []string) func() {
	set := func(hidden bool) { w.each(args[:1], func(p *process) { w.net.pretend(p, args[1], hidden, false) }) }
	set(true)
	return func() { set(false) }
}

func stepGhost(w *world, args []string) func() {
	set := func(kept bool) { w.each(args[:1], func(p *process) { w.net.pretend(p, args[1], false, kept) }) }
	set(true)
	return func() { set(false) }
}

func stepMove(w *world, args []string) func() {
	w.each(args, w.net.move)
	return nil
}

func stepStranger(w *world, args []string) func() {
	w.lied = true
	w.invented = w.invented || args[0] == "names" || args[0] == "list"
	w.each(args[1:2], func(p *process) { w.attack(p, args[0], args[2:]) })
	return nil
}

// attack has a stranger, who reads the bus and writes to it, speak of p.
func (w *world) attack(p *process, kind string, args []string) {
	v := w.victim(p)
	switch kind {
	case "update": // in p's name
		head := wire.UpdateHead{Key: args[0], Incarnation: v.Beat.Incarnation, Number: uint64(part(args[1]))}
		if len(args) > 2 {
			head.Incarnation += uint32(part(args[2]))
		}
		b, start := wire.NewEncoder(cluster, p.instance).AppendUpdate(nil, head, encodeEntry(w.newEntry(p.instance, args[0], true)))
		w.net.forge(p.instance, b[start:])
	case "again": // its last heartbeat
		v.Beat.Count--
		frame := codec.Encode(wire.NewEncoder(cluster, p.instance), &v.Beat)
		w.times([]string{args[0], "500ms"}, func() { w.net.forge(p.instance, frame) })
	case "nonsense":
		for range int(part(args[0])) {
			w.net.forge(p.instance, w.net.damaged())
		}
	default:
		for _, f := range sim.Forge(kind, v, args) {
			w.net.forge(f.From, codec.Encode(wire.NewEncoder(cluster, f.From), f.Message))
		}
	}
}

// victim is p as a stranger knows it.
func (w *world) victim(p *process) sim.Victim {
	v := sim.Victim{Beat: w.net.heartbeat(p), Keys: slices.Sorted(maps.Keys(p.states))}
	for _, q := range w.running() {
		v.Members = append(v.Members, q.instance)
	}
	return v
}

// stepMad has all that a process sends be damaged.
func stepMad(w *world, args []string) func() {
	w.lied = true
	set := func(mad bool) { w.each(args, func(p *process) { w.net.derange(p, mad) }) }
	set(true)
	return func() { set(false) }
}
