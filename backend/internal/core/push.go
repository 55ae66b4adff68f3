package core

// push gives a member a state that differs from its own, and that no missing
// update explains. On a bus all get it: it is news for them too.
func (c *Core) push(st *state, p *node) {
	if !c.answered.bytes.take(c.now, 1) {
		c.note(NoteLimited, p, st.key, 1, "bytes")
		return
	}
	to := p.Instance
	if !c.transport.Unicast {
		to = ""
	}
	job := c.job(nil, func(e Event) {
		m, ok := e.(Marshalled)
		if !ok || m.Err != nil || st.gone || m.Data == nil {
			return
		}
		c.answered.bytes.spend(c.now, len(m.Data))
		c.send(to, &Push{To: to, Key: st.key, Digest: m.Digest, Data: m.Data})
	})
	c.emit(Marshal{Job: job, Key: st.key})
}

// onPush handles a state that another member found this node to lack.
func (c *Core) onPush(p *node, m *Push) {
	st := c.states[m.Key]
	if p == nil || !p.present() || st == nil || m.To != "" && m.To != c.cfg.Self.Instance {
		return
	}
	if !c.answered.pushes.take(c.now, 1) {
		c.note(NoteLimited, p, m.Key, 1, "pushes")
		return
	}
	p.heard(c.now)
	version, known := st.version, st.digested && st.digestOf == st.version && !st.apart
	before := st.digest
	job := c.job(nil, func(e Event) {
		r, ok := e.(Merged)
		if !ok || st.gone || r.Full {
			return
		}
		if r.Err != nil {
			c.note(NoteRefused, p, st.key, 1, r.Err.Error())
			return
		}
		quiet := st.version == version
		st.version++
		if r.HasDigest {
			st.hasDigest(r.Digest, false)
			if m.To != "" && c.isReady(st) && quiet && (!known || before != r.Digest) {
				c.spread(st)
			}
		}
	})
	c.emit(Merge{Job: job, Key: m.Key, Data: m.Data, Digest: true})
}
