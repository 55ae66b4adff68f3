package sim

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// steps are what can happen, by the first word of a line. Each returns what ends
// it, or nil.
var steps map[string]func(w *World, args []string) func()

func init() { // for schedule refers to it, by way of every
	steps = map[string]func(w *World, args []string) func(){
		// The lives of processes.
		"start":   stepStart,   // start a b=s,t c  : new processes, b with these states only
		"crash":   stepCrash,   // crash a b
		"leave":   stepLeave,   // leave a b
		"restart": stepRestart, // restart a [after] : killed and started again under its name
		"pause":   stepPause,   // for 5s pause a
		"without": stepWithout, // without a Missing Void : a's version does not know these messages

		"foreign": stepForeign, // [for 5s] foreign x s t : a node that speaks another protocol
		"told":    stepTold,    // told x s : it learns something

		// States.
		"say":    stepSay,    // say a s [count [every]]
		"keep":   stepKeep,   // keep a s : put into the state without a broadcast
		"add":    stepAdd,    // add a s
		"remove": stepRemove, // remove a s
		"state":  stepState,  // [for 5s] state a s merge=2s marshal=1s refuses=0.1 broken hung shifty undigested size=1000 gone=0.1 room=5
		"late":   stepLate,   // [for 5s] late a 5ms : its own state holds an update only then

		// The network.
		"cut":       stepCut,       // [for 5s] cut a b | c : both ways
		"oneway":    stepOneWay,    // [for 5s] oneway a > b : b does not hear a; * is all
		"split":     stepSplit,     // [for 5s] split : halves of all nodes
		"loss":      stepLoss,      // [for 5s] loss 0.01 [a > b]
		"duplicate": stepDuplicate, // [for 5s] duplicate 0.1 [a > b]
		"swap":      stepSwap,      // [for 5s] swap 0.5 [a > b]
		"delay":     stepDelay,     // [for 5s] delay 100ms [a > b]
		"refuse":    stepRefuse,    // [for 5s] refuse a > b : unicasts fail
		"slow":      stepSlow,      // [for 5s] slow a 2ms : it reads one frame in that time
		"broker":    stepBroker,    // for 2s broker : it is gone
		"hang":      stepHang,      // for 2s hang : the broker delivers nothing
		"relink":    stepRelink,    // relink a [count [every]] : its driver subscribes again
		"hide":      stepHide,      // for 5s hide a b : the transport of a does not list b
		"ghost":     stepGhost,     // for 5s ghost a b : the transport of a keeps what it lists of b
		"move":      stepMove,      // move a : its address changes

		// Strangers.
		"stranger": stepStranger, // stranger goodbye a, and others: see attacks
		"mad":      stepMad,      // for 10s mad a : what it sends is nonsense

		// What is held to.
		"reset":  stepReset,  // reset : counts begin anew
		"expect": stepExpect, // expect Pull <= 5, and others: see quantity
		"whole":  stepWhole,  // whole : all states of a key are equal
	}
}

// schedule has s happen.
func (w *World) schedule(s Step) {
	w.at(s.At, func() {
		w.say("", "%s", s)
		end := steps[s.Args[0]](w, s.Args[1:])
		if s.For > 0 && end != nil {
			w.after(s.For, func() {
				w.say("", "over: %s", strings.Join(s.Args, " "))
				end()
			})
		}
	})
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
func (w *World) times(args []string, do func()) {
	count, every := 1, time.Duration(0)
	if len(args) > 0 {
		count = int(part(args[0]))
	}
	if len(args) > 1 {
		every = duration(args[1])
	}
	for i := range count {
		w.after(time.Duration(i)*every, do)
	}
}

// each calls do with the process of each name, if it runs.
func (w *World) each(names []string, do func(p *process)) {
	for _, name := range names {
		if p := w.live[name]; p != nil {
			do(p)
		}
	}
}

func stepStart(w *World, args []string) func() {
	for _, arg := range args {
		name, keys, some := strings.Cut(arg, "=")
		if w.live[name] != nil {
			continue
		}
		if some {
			w.start(name, strings.Split(keys, ","))
		} else {
			w.start(name, nil)
		}
	}
	return nil
}

func stepCrash(w *World, args []string) func() {
	w.each(args, func(p *process) { p.phase = min(p.phase, alive); p.end() })
	return nil
}

func stepLeave(w *World, args []string) func() {
	w.each(args, func(p *process) { p.do(p.leave) })
	return nil
}

func stepRestart(w *World, args []string) func() {
	var wait time.Duration
	if len(args) > 1 {
		wait = duration(args[1])
	}
	w.each(args[:1], func(p *process) {
		keys := slices.Clone(p.keys)
		p.phase = alive
		p.end()
		w.after(wait, func() {
			if w.live[p.name] == nil {
				w.start(p.name, keys)
			}
		})
	})
	return nil
}

func stepPause(w *World, args []string) func() {
	var paused []*process
	w.each(args, func(p *process) { p.pause(); paused = append(paused, p) })
	w.net.topology()
	return func() {
		for _, p := range paused {
			p.resume()
		}
		w.net.topology()
	}
}

func stepWithout(w *World, args []string) func() {
	w.each(args[:1], func(p *process) { p.without = args[1:] })
	return nil
}

func stepSay(w *World, args []string) func() {
	w.times(args[2:], func() { w.each(args[:1], func(p *process) { p.do(func() { p.say(args[1]) }) }) })
	return nil
}

func stepKeep(w *World, args []string) func() {
	w.each(args[:1], func(p *process) { p.do(func() { p.keep(args[1]) }) })
	return nil
}

func stepAdd(w *World, args []string) func() {
	w.each(args[:1], func(p *process) { p.do(func() { p.addState(args[1]) }) })
	return nil
}

func stepRemove(w *World, args []string) func() {
	w.each(args[:1], func(p *process) { p.do(func() { p.removeState(args[1]) }) })
	return nil
}

func stepState(w *World, args []string) func() {
	var ends []func()
	w.each(args[:1], func(p *process) {
		for _, key := range p.keys {
			st := p.states[key]
			if args[1] != "*" && args[1] != key {
				continue
			}
			how := slices.Clone(args)
			st.odd = append(st.odd, &how)
			st.behave()
			ends = append(ends, func() {
				st.odd = slices.DeleteFunc(st.odd, func(o *[]string) bool { return o == &how })
				st.behave()
				p.do(st.work)
			})
		}
	})
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// behave has the state be as all steps that are not over want it.
func (st *state) behave() {
	st.like = usual
	for _, args := range st.odd {
		for _, arg := range (*args)[2:] {
			st.like.set(arg)
		}
	}
}

// set changes what arg names.
func (l *likeness) set(arg string) {
	name, value, _ := strings.Cut(arg, "=")
	switch name {
	case "merge":
		l.merge = duration(value)
	case "marshal":
		l.marshal = duration(value)
	case "refuses":
		l.refuses = part(value)
	case "broken":
		l.broken = true
	case "hung":
		l.hung = true
	case "shifty":
		l.shifty = true
	case "undigested":
		l.undigested = true
	case "size":
		l.size = int(part(value))
	case "gone":
		l.gone = part(value)
	case "room":
		l.room = int(part(value))
	default:
		panic("no such likeness: " + name)
	}
}

func stepLate(w *World, args []string) func() {
	w.each(args[:1], func(p *process) { p.ownLate = duration(args[1]) })
	return func() { w.each(args[:1], func(p *process) { p.ownLate = 0 }) }
}

// sides returns the names before and after sep.
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

// along changes the conditions of all paths from a to b.
func (w *World) along(a, b []string, do func(c *condition)) {
	for _, from := range a {
		for _, to := range b {
			do(w.net.on(from, to))
		}
	}
	w.net.topology()
}

func stepCut(w *World, args []string) func() {
	a, b := sides(args, "|")
	change := func(n int) {
		w.along(a, b, func(c *condition) { c.cut += n })
		w.along(b, a, func(c *condition) { c.cut += n })
	}
	change(1)
	return func() { change(-1) }
}

func stepOneWay(w *World, args []string) func() {
	a, b := sides(args, ">")
	w.along(a, b, func(c *condition) { c.cut++ })
	return func() { w.along(a, b, func(c *condition) { c.cut-- }) }
}

func stepSplit(w *World, args []string) func() {
	for i, name := range w.names {
		w.net.groups[name] = i % 2
	}
	w.net.topology()
	return func() {
		clear(w.net.groups)
		w.net.topology()
	}
}

func stepLoss(w *World, args []string) func() {
	a, b := sides(args[1:], ">")
	w.along(a, b, func(c *condition) { c.loss = part(args[0]) })
	return func() { w.along(a, b, func(c *condition) { c.loss = 0 }) }
}

func stepDuplicate(w *World, args []string) func() {
	a, b := sides(args[1:], ">")
	w.along(a, b, func(c *condition) { c.duplicates = part(args[0]) })
	return func() { w.along(a, b, func(c *condition) { c.duplicates = 0 }) }
}

func stepSwap(w *World, args []string) func() {
	a, b := sides(args[1:], ">")
	w.along(a, b, func(c *condition) { c.swaps = part(args[0]) })
	return func() { w.along(a, b, func(c *condition) { c.swaps = 0 }) }
}

func stepDelay(w *World, args []string) func() {
	a, b := sides(args[1:], ">")
	w.along(a, b, func(c *condition) { c.delay = duration(args[0]) })
	return func() { w.along(a, b, func(c *condition) { c.delay = 0 }) }
}

func stepRefuse(w *World, args []string) func() {
	a, b := sides(args, ">")
	w.along(a, b, func(c *condition) { c.refused++ })
	return func() { w.along(a, b, func(c *condition) { c.refused-- }) }
}

func stepSlow(w *World, args []string) func() {
	set := func(d time.Duration) {
		w.each(args[:1], func(p *process) {
			if s := w.net.byID[p.instance]; s != nil {
				s.slow = d
			}
		})
	}
	set(duration(args[1]))
	return func() { set(0) }
}

func stepBroker(w *World, args []string) func() {
	w.net.stop()
	return func() { w.net.up = true }
}

func stepHang(w *World, args []string) func() {
	w.net.hung = true
	w.net.topology()
	return func() {
		w.net.hung = false
		w.net.topology()
	}
}

func stepRelink(w *World, args []string) func() {
	w.times(args[1:], func() {
		w.each(args[:1], func(p *process) {
			p.do(func() {
				if p.link.up && w.net.attach(p) {
					p.step(core.LinkUp{Transport: w.net.transport()})
					w.net.attached(p)
				}
			})
		})
	})
	return nil
}

func stepHide(w *World, args []string) func() {
	set := func(hidden bool) {
		w.each(args[:1], func(p *process) {
			if p.native.hidden != nil {
				p.native.hidden[args[1]] = hidden
			}
		})
		w.net.topology()
	}
	set(true)
	return func() { set(false) }
}

func stepGhost(w *World, args []string) func() {
	set := func(kept bool) {
		w.each(args[:1], func(p *process) {
			if p.native.ghosts != nil {
				p.native.ghosts[args[1]] = kept
			}
		})
		w.net.topology()
	}
	set(true)
	return func() { set(false) }
}

func stepMove(w *World, args []string) func() {
	w.each(args[:1], func(p *process) {
		p.addr += "'"
		for _, q := range w.running() {
			if q != p && q.native.listed[p.instance] {
				w.net.tell(q)
			}
		}
	})
	return nil
}

func stepReset(w *World, args []string) func() {
	clear(w.tally.counts)
	return nil
}
