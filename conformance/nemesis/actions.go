package nemesis

import (
	"slices"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
)

// Pauser is a conformance.Server that can stand still: its connections stay, and
// nothing answers.
type Pauser interface {
	Pause(t testing.TB)  // returns when it stands still
	Resume(t testing.TB) // lets it go on
}

// Cluster is a conformance.Server of several servers that serve as one.
type Cluster interface {
	// FailOver stops one of them, at best the one that leads, and returns a function
	// that brings it back.
	FailOver(t testing.TB) (back func())
}

// Network is a conformance.Server of several servers that can be parted.
type Network interface {
	// Parts reports whether Separate can be used.
	Parts() bool

	// Separate parts one of them from the others and returns a function that connects
	// it again.
	Separate(t testing.TB) (heal func())
}

// The outages of a server.
const (
	stopped    = "stop"     // and started again with what it had stored
	emptied    = "empty"    // stopped, and started again without
	paused     = "pause"    // it answers nothing
	failedOver = "failover" // one of several stops
	separated  = "part"     // one of several does not reach the others
)

var outages = []string{stopped, emptied, paused, failedOver, separated}

// action is one kind of step.
type action struct {
	usage string // its arguments: NODE, STATE, HOW, PART, DURATION, NUMBER; in brackets what may be left out
	lasts bool   // it has an end
	needs func(a abilities, args []string) bool
	begin func(w *world, args []string) (end func())
}

// actions are all kinds of steps, by the word that names them.
var actions = map[string]action{
	"start": {usage: "NODE...", begin: func(w *world, args []string) func() {
		for _, name := range args {
			w.start(name)
		}
		return nil
	}},
	"twin": {usage: "NODE", lasts: true, needs: func(a abilities, _ []string) bool { return a.twins }, begin: func(w *world, args []string) func() {
		key := args[0] + "twin"
		w.startAs(key, args[0])
		return func() { w.leave(key) }
	}},
	"leave": {usage: "NODE", begin: func(w *world, args []string) func() { w.leave(args[0]); return nil }},
	"kill": {usage: "NODE", begin: func(w *world, args []string) func() {
		w.kill(args[0])
		return nil
	}},
	"cut": {usage: "NODE [NODE]", lasts: true, needs: func(a abilities, args []string) bool { return a.pairs || a.proxies && len(args) == 1 },
		begin: func(w *world, args []string) func() { return w.cut(args[0], args[1:]...) }},
	"mute":     {usage: "NODE", lasts: true, begin: halfOpens(condition{Mute: true})},
	"deafen":   {usage: "NODE", lasts: true, begin: halfOpens(condition{Deaf: true})},
	"halfopen": {usage: "NODE", lasts: true, begin: halfOpens(condition{Mute: true, Deaf: true})},
	"stall":    {usage: "NODE", lasts: true, begin: befalls(func([]string) condition { return condition{Stall: true} })},
	"delay":    {usage: "NODE DURATION", lasts: true, begin: befalls(func(args []string) condition { return condition{Delay: duration(args[0])} })},
	"throttle": {usage: "NODE NUMBER", lasts: true, needs: func(a abilities, _ []string) bool { return a.proxies },
		begin: befalls(func(args []string) condition { return condition{Rate: count(args[0])} })},
	"lose":   {usage: "NODE PART", lasts: true, begin: befalls(func(args []string) condition { return condition{Loss: part(args[0])} })},
	"double": {usage: "NODE PART", lasts: true, begin: befalls(func(args []string) condition { return condition{Twice: part(args[0])} })},
	"reset": {usage: "NODE", needs: func(a abilities, _ []string) bool { return a.proxies }, begin: func(w *world, args []string) func() {
		if n := w.living(args[0]); n != nil {
			n.link.proxy.Reset()
		}
		return nil
	}},
	"reopen": {usage: "NODE", begin: func(w *world, args []string) func() {
		if n := w.living(args[0]); n != nil {
			n.seat.reopen()
		}
		return nil
	}},
	"server": {usage: "HOW", lasts: true, needs: func(a abilities, args []string) bool { return slices.Contains(a.outages, args[0]) },
		begin: func(w *world, args []string) func() { return w.outage(args[0]) }},
	"stop": {usage: "NODE", lasts: true, needs: func(a abilities, _ []string) bool { return a.processes }, begin: func(w *world, args []string) func() {
		if n := w.living(args[0]); n != nil {
			return n.pause()
		}
		return nil
	}},
	"block":  {usage: "NODE STATE", lasts: true, begin: mooded(blocks)},
	"panic":  {usage: "NODE STATE", lasts: true, begin: mooded(panics)},
	"refuse": {usage: "NODE STATE", lasts: true, begin: mooded(refuses)},
	"flood": {usage: "NODE STATE NUMBER", begin: func(w *world, args []string) func() {
		if n := w.living(args[0]); n != nil {
			for range count(args[2]) {
				n.put(args[1], 10)
			}
		}
		return nil
	}},
	"large": {usage: "NODE STATE NUMBER", begin: func(w *world, args []string) func() {
		if n := w.living(args[0]); n != nil {
			n.put(args[1], count(args[2]))
		}
		return nil
	}},
	"remove": {usage: "NODE STATE", lasts: true, begin: func(w *world, args []string) func() {
		if n := w.living(args[0]); n != nil {
			return n.remove(args[1])
		}
		return nil
	}},
}

// befalls returns what begins a condition of a node's link.
func befalls(of func(args []string) condition) func(*world, []string) func() {
	return func(w *world, args []string) func() {
		l, err := w.linkOf(args[0])
		if err != nil {
			w.tb.Fatalf("the proxy of %s: %v", args[0], err)
		}
		return l.add(of(args[1:]))
	}
}

// mooded returns what makes Merge of a node's state behave so.
func mooded(m mood) func(*world, []string) func() {
	return func(w *world, args []string) func() {
		n := w.living(args[0])
		if n == nil {
			return nil
		}
		n.seat.be(args[1], m)
		return func() { n.seat.be(args[1], willing) }
	}
}

// halfOpens returns what makes a node's link swallow bytes. Where the transport knows
// its members by itself, and no proxy carries it, only frames are lost: then the node
// is still among the others.
func halfOpens(c condition) func(*world, []string) func() {
	begin := befalls(func([]string) condition { return c })
	return func(w *world, args []string) func() {
		n := w.living(args[0])
		if n == nil || w.server == nil {
			return begin(w, args)
		}
		judge, heal := w.cutOff(n), begin(w, args)
		return func() { judge(); heal() }
	}
}

// cut cuts a node off from others, or from all, until end is called.
func (w *world) cut(name string, others ...string) (end func()) {
	if len(others) > 0 {
		return w.cuts.cut(w, name, others...)
	}
	n := w.living(name)
	if n == nil {
		return w.isolate(name)
	}
	judge, heal := w.cutOff(n), w.isolate(name)
	return func() { judge(); heal() }
}

// cutOff notes that nodes are cut off from all. Those that still are when judge is
// called, and were for longer than that may stay unnoticed, must not count themselves
// attached among others.
func (w *world) cutOff(nodes ...*node) (judge func()) {
	began := w.canary.Now()
	return func() {
		if w.canary.Now()-began <= w.bounds.detect {
			return
		}
		for _, n := range nodes {
			if n.ending.Load() || !n.awake(w.bounds.detect) {
				continue
			}
			w.judged(status)
			if v := n.view(); v.Status == backend.Attached && len(v.Members) > 1 {
				w.fail(status, "%s is cut off from all for %v: %s", n, w.canary.Now()-began, show(v))
			}
		}
	}
}

// isolate cuts a node off from all, in whatever way the harness can.
func (w *world) isolate(name string) (heal func()) {
	l, err := w.linkOf(name)
	if err != nil {
		w.tb.Fatalf("the proxy of %s: %v", name, err)
	}
	heals := []func(){l.add(condition{Cut: true, Mute: true, Deaf: true})}
	if w.can.pairs {
		heals = append(heals, w.cuts.cut(w, name, slices.DeleteFunc(w.schedule.names(), func(other string) bool { return other == name })...))
	}
	return func() {
		for _, heal := range heals {
			heal()
		}
	}
}

// outage takes the server away until end is called. One outage at a time.
func (w *world) outage(how string) (end func()) {
	if !w.away.CompareAndSwap(false, true) {
		return nil
	}
	over := func() { w.away.Store(false) }
	switch how {
	case paused:
		s := w.server.(Pauser)
		s.Pause(w.tb)
		judge := w.cutOff(w.alive()...)
		return func() { defer over(); judge(); s.Resume(w.tb) }
	case failedOver:
		back := w.server.(Cluster).FailOver(w.tb)
		return func() { defer over(); back() }
	case separated:
		heal := w.server.(Network).Separate(w.tb)
		return func() { defer over(); heal() }
	}
	w.server.Stop(w.tb)
	judge := w.cutOff(w.alive()...)
	return func() {
		defer over()
		judge()
		if how == emptied {
			w.server.Empty(w.tb)
		}
		w.server.Start(w.tb)
	}
}

// abilities are what a harness can do.
type abilities struct {
	proxies   bool // stand between each node and the server
	pairs     bool // links between two nodes can be cut
	processes bool // nodes are processes, which can stand still
	twins     bool // two nodes of one name can be there
	outages   []string
}

func (a abilities) can(s Step) bool {
	needs := actions[s.Args[0]].needs
	return needs == nil || needs(a, s.Args[1:])
}

// abilitiesOf returns those of a harness with its server.
func abilitiesOf(h conformance.Harness, server conformance.Server, processes bool) abilities {
	a := abilities{proxies: proxied(server), pairs: h.Cut != nil && !processes, processes: processes && canStop, twins: server != nil}
	if h.Server == nil {
		return a
	}
	a.outages = []string{stopped, emptied}
	if _, can := server.(Pauser); can {
		a.outages = append(a.outages, paused)
	}
	if _, can := server.(Cluster); can {
		a.outages = append(a.outages, failedOver)
	}
	if n, can := server.(Network); can && n.Parts() {
		a.outages = append(a.outages, separated)
	}
	return a
}
