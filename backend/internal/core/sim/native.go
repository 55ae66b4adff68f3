package sim

import (
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// nativeView is what the transport of one node holds of the others.
type nativeView struct {
	listed  map[string]bool // by instance
	turning map[string]bool // a change is under way
	told    bool
	hidden  map[string]bool // names that a fault hides
	ghosts  map[string]bool // names that a fault keeps
	stale   bool            // a Listed is under way
}

// topology has the native lists follow what is reachable, each in its own time.
func (n *network) topology() {
	if !n.w.scenario.Net.Native || n.redraw {
		return
	}
	n.redraw = true
	n.w.after(time.Millisecond, func() {
		n.redraw = false
		parts := n.parts()
		for _, p := range n.w.running() {
			if p.link.up {
				n.follow(p, parts)
			}
		}
	})
}

// parts returns, for each attached process, a number that those share which
// reach each other, also by way of others.
func (n *network) parts() map[string]int {
	parts := map[string]int{}
	all := n.w.running()
	var walk func(p *process, part int)
	walk = func(p *process, part int) {
		parts[p.instance] = part
		for _, q := range all {
			if _, seen := parts[q.instance]; !seen && n.both(p, q) {
				walk(q, part)
			}
		}
	}
	for i, p := range all {
		if _, seen := parts[p.instance]; !seen && p.link.up && !p.asleep {
			walk(p, i+1)
		}
	}
	return parts
}

// both reports whether p and q reach each other.
func (n *network) both(p, q *process) bool {
	return p.link.up && q.link.up && !p.asleep && !q.asleep && !n.hung &&
		n.of(p.name, q.name).cut == 0 && n.of(q.name, p.name).cut == 0
}

// follow plans the changes of one node's list.
func (n *network) follow(p *process, parts map[string]int) {
	v := &p.native
	if v.listed == nil {
		v.listed, v.turning = map[string]bool{}, map[string]bool{}
		v.hidden, v.ghosts = map[string]bool{}, map[string]bool{}
	}
	if !v.told { // the first list comes when the transport has joined the others
		v.told = true
		for _, q := range n.w.procs {
			v.listed[q.instance] = q != p && n.wants(p, q, parts)
		}
		n.tell(p)
	}
	for _, q := range n.w.procs {
		want := n.wants(p, q, parts)
		if q == p || v.turning[q.instance] || want == v.listed[q.instance] {
			continue
		}
		v.turning[q.instance] = true
		lag := n.w.between(20*time.Millisecond, 300*time.Millisecond)
		if !want {
			lag = n.w.between(time.Second, 4*time.Second)
		}
		n.w.after(lag, func() {
			v.turning[q.instance] = false
			if p.asleep {
				return
			}
			if n.wants(p, q, n.parts()) == v.listed[q.instance] {
				return
			}
			v.listed[q.instance] = !v.listed[q.instance]
			n.tell(p)
		})
	}
}

func (n *network) wants(p, q *process, parts map[string]int) bool {
	switch {
	case p.asleep: // it notices nothing
		return p.native.listed[q.instance]
	case p.native.hidden[q.name]:
		return false
	case p.native.ghosts[q.name]:
		return p.native.listed[q.instance]
	}
	return q.phase != gone && q.link.up && parts[q.instance] != 0 && parts[p.instance] == parts[q.instance]
}

// tell gives p its list, a moment later.
func (n *network) tell(p *process) {
	if p.native.stale {
		return
	}
	p.native.stale = true
	p.after(n.w.between(0, 5*time.Millisecond), func() {
		p.native.stale = false
		if !p.link.up {
			return
		}
		list := []core.Member{p.member()}
		for _, q := range n.w.procs {
			if q != p && p.native.listed[q.instance] {
				list = append(list, q.member())
			}
		}
		for _, f := range n.foreign {
			list = append(list, f.member())
		}
		p.step(core.Listed{Members: list})
	})
}

// farewell has the native lists drop a process that left.
func (n *network) farewell(q *process) {
	if !n.w.scenario.Net.Native {
		return
	}
	for _, p := range n.w.running() {
		if p.native.listed[q.instance] && n.of(q.name, p.name).cut == 0 && p.link.up {
			p.after(n.w.between(0, 200*time.Millisecond), func() {
				if p.native.listed[q.instance] {
					p.native.listed[q.instance] = false
					p.step(core.Left{Member: q.member()})
					n.tell(p)
				}
			})
		}
	}
}

// exchange has p and another node swap their full states, as the transport does
// by itself.
func (n *network) exchange(p *process) {
	if !n.w.scenario.Net.Exchange || p.phase != alive {
		return
	}
	p.after(n.w.between(20*time.Second, 40*time.Second), func() { n.exchange(p) })
	others := slices.DeleteFunc(n.w.running(), func(q *process) bool { return q == p || !n.both(p, q) })
	if len(others)+len(n.foreign) == 0 || !p.link.up {
		return
	}
	i := n.w.rand.IntN(len(others) + len(n.foreign))
	if i >= len(others) {
		n.foreign[i-len(others)].swap(p)
		return
	}
	q := others[i]
	a, b := p.full(), q.full()
	q.after(n.w.between(n.w.scenario.Net.Latency, 10*n.w.scenario.Net.Latency), func() { q.takeFull(a) })
	p.after(n.w.between(n.w.scenario.Net.Latency, 10*n.w.scenario.Net.Latency), func() { p.takeFull(b) })
}

// full is a whole node's state, as a native exchange carries it.
type full struct {
	head   *core.Head
	states map[string][]byte
	keys   []string
}

func (p *process) full() *full {
	f := &full{states: map[string][]byte{}}
	for _, key := range p.keys {
		if st := p.states[key]; !st.like.broken {
			f.keys = append(f.keys, key)
		}
	}
	f.head = p.core.Head(f.keys)
	for _, key := range f.keys {
		f.states[key] = p.states[key].set.encode(p.states[key].like.size)
	}
	if f.head != nil {
		for i := range f.head.Items {
			if st := p.states[f.head.Items[i].Key]; st != nil {
				f.head.Items[i].Digest, f.head.Items[i].HasDigest = st.digest(st.set, false)
			}
		}
	}
	p.w.tally.count("native", 1)
	return f
}

func (p *process) takeFull(f *full) {
	e := core.Exchanged{Head: f.head, Keys: f.keys}
	for _, key := range f.keys {
		st := p.states[key]
		switch {
		case st == nil:
		case st.like.hung, p.w.chance(st.like.refuses):
			e.Failed = append(e.Failed, key)
		default:
			st.set.merge(decodeSet(f.states[key]))
		}
	}
	p.step(e)
}
