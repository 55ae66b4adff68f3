package play_test

import (
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// nativeView is what the transport of one node holds of the others.
type nativeView struct {
	listed  map[string]bool // by instance
	turning map[string]bool // a change is under way
	told    bool
	hidden  map[string]bool // names that a fault hides
	ghosts  map[string]bool // names that a fault keeps
}

func (v *nativeView) init() {
	v.listed, v.turning = map[string]bool{}, map[string]bool{}
	v.hidden, v.ghosts = map[string]bool{}, map[string]bool{}
}

// pretend has the transport of p hide who has a name, or keep what it lists of it.
func (n *network) pretend(p *process, name string, hidden, ghost bool) {
	n.mu.Lock()
	if v := &n.peerOf(p).native; v.listed != nil {
		v.hidden[name], v.ghosts[name] = hidden, ghost
	}
	n.mu.Unlock()
	n.topology()
}

// topology has the native lists follow what is reachable, each in its own time.
// n.mu is not held.
func (n *network) topology() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.w.scenario.Net.Native || n.redraw {
		return
	}
	n.redraw = true
	time.AfterFunc(time.Millisecond, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.redraw = false
		parts := n.parts()
		for _, c := range n.conns {
			n.follow(c.peer, parts)
		}
	})
}

// parts returns, for each attached node, a number that those share which reach each
// other, also by way of others.
func (n *network) parts() map[string]int {
	parts := map[string]int{}
	var walk func(c *conn, part int)
	walk = func(c *conn, part int) {
		parts[c.peer.self.Instance] = part
		for _, o := range n.conns {
			if parts[o.peer.self.Instance] == 0 && !n.hung && n.of(c.peer.p.name, o.peer.p.name).cut == 0 && n.of(o.peer.p.name, c.peer.p.name).cut == 0 {
				walk(o, part)
			}
		}
	}
	for i, c := range n.conns {
		if parts[c.peer.self.Instance] == 0 {
			walk(c, i+1)
		}
	}
	return parts
}

// follow plans the changes of one node's list.
func (n *network) follow(p *peer, parts map[string]int) {
	v := &p.native
	if !v.told { // the first list comes when the transport has joined the others
		v.told = true
		for id, q := range n.peers {
			v.listed[id] = q != p && n.wants(p, q, parts)
		}
		n.tell(p)
	}
	for id, q := range n.peers {
		want := n.wants(p, q, parts)
		if q == p || v.turning[id] || want == v.listed[id] {
			continue
		}
		v.turning[id] = true
		lag := n.between(20*time.Millisecond, 300*time.Millisecond)
		if !want {
			lag = n.between(time.Second, 4*time.Second)
		}
		time.AfterFunc(lag, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			v.turning[id] = false
			if n.wants(p, q, n.parts()) != v.listed[id] {
				v.listed[id] = !v.listed[id]
				n.tell(p)
			}
		})
	}
}

func (n *network) wants(p, q *peer, parts map[string]int) bool {
	switch {
	case p.native.hidden[q.p.name]:
		return false
	case p.native.ghosts[q.p.name]:
		return p.native.listed[q.self.Instance]
	}
	part := parts[q.self.Instance]
	return part != 0 && part == parts[p.self.Instance]
}

// tell gives a node its list.
func (n *network) tell(p *peer) {
	if p.conn == nil {
		return
	}
	list := []driver.Member{p.self}
	for id, q := range n.peers {
		if q != p && p.native.listed[id] {
			list = append(list, q.self)
		}
	}
	p.conn.push(func(h driver.Handler) { h.Members(list) })
}

// farewell has the native lists drop a node that left.
func (n *network) farewell(left *process) {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := n.peerOf(left)
	if !n.w.scenario.Net.Native || q.dead {
		return
	}
	q.dead = true
	for _, p := range n.peers {
		if id := q.self.Instance; p.native.listed[id] && n.of(q.p.name, p.p.name).cut == 0 && p.conn != nil {
			p.native.listed[id] = false
			p.conn.push(func(h driver.Handler) { h.Left(q.self) })
			n.tell(p)
		}
	}
}

// move changes the address of a node.
func (n *network) move(p *process) {
	n.mu.Lock()
	defer n.mu.Unlock()
	moved := n.peerOf(p)
	moved.self.Addr += "'"
	for _, q := range n.peers {
		if q != moved && q.native.listed[moved.self.Instance] {
			n.tell(q)
		}
	}
}
