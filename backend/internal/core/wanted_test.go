package core

import (
	"testing"
	"time"
)

// Members are asked in the order of what an exchange with them is worth.
func TestRank(t *testing.T) {
	last := -1
	for _, c := range []struct {
		what string
		do   func(p *pair, b *node)
	}{
		{"ready", func(p *pair, b *node) {}},
		{"with other keys", func(p *pair, b *node) { b.keySet++ }},
		{"not known", func(p *pair, b *node) { b.known = false }},
		{"not known, with other keys", func(p *pair, b *node) { b.known = false; b.keySet++ }},
		{"repairing", func(p *pair, b *node) { b.worth = Repairing }},
		{"joining", func(p *pair, b *node) { b.worth = Joining }},
		{"leaving", func(p *pair, b *node) { b.life = leaving }},
		{"leaving and joining", func(p *pair, b *node) { b.life, b.worth = leaving, Joining }},
	} {
		p := newPair(t, Transport{}, "s")
		b := p.roster.get("b")
		b.keySet = p.keySet
		c.do(p, b)
		rank := p.rank(b)
		if rank <= last {
			t.Errorf("%s: rank %d, after %d", c.what, rank, last)
		}
		last = rank
	}
}

// Who is asked for a state next.
func TestCandidates(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pair, st *state, b *node)
		want string
	}{
		{"the lowest of those that are worth the same", func(*pair, *state, *node) {}, "b"},
		{"not who was asked", func(p *pair, st *state, b *node) { st.search.tried = []*node{b} }, "c"},
		{"not who lacks it", func(p *pair, st *state, b *node) { b.lacks = map[string]bool{"s": true} }, "c"},
		{"not who is gone", func(p *pair, st *state, b *node) { p.fail(b) }, "c"},
		{"not who an exchange is under way with", func(p *pair, st *state, b *node) { p.asked.pulls = []*pull{{node: b}} }, "c"},
		{"first who told of it", func(p *pair, st *state, b *node) {
			s := p.misses("s")
			s.given, s.teller = Ranges{{1, 1}}, p.roster.get("c")
		}, "c"},
		{"who told of something else is as any other", func(p *pair, st *state, b *node) { p.misses("s").teller = p.roster.get("c") }, "b"},
		{"nor is one asked that nobody is known to have told", func(p *pair, st *state, b *node) { p.misses("s").given = Ranges{{1, 1}} }, "b"},
		{"nobody when so many were", func(p *pair, st *state, b *node) { st.search.tried = make([]*node, maxAsked) }, ""},
		{"one was not", func(p *pair, st *state, b *node) { st.search.tried = make([]*node, maxAsked-1) }, "b"},
	} {
		p := newPair(t, Transport{}, "s")
		p.joins("c")
		st, b := p.states["s"], p.roster.get("b")
		c.do(p, st, b)
		best, _ := p.candidate(st)
		if name := ""; best != nil && best.Name != c.want || best == nil && name != c.want {
			t.Errorf("%s: %+v, want %q", c.what, best, c.want)
		}
	}
	t.Run("with unicast anybody", func(t *testing.T) {
		p := newPair(t, Transport{Unicast: true}, "s")
		p.joins("c")
		p.joins("d")
		asked := map[string]bool{}
		for range 100 {
			best, _ := p.candidate(p.states["s"])
			asked[best.Name] = true
		}
		if len(asked) != 3 {
			t.Errorf("%v", asked)
		}
	})
}

// A joining member is asked late for a state's first exchange, and at once for what is to
// be compared.
func TestAskingAJoiningMember(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(st *state)
		want bool
	}{
		{"the first exchange", func(st *state) { st.ready = Settling }, false},
		{"a comparison before it is over", func(st *state) { st.ready, st.compare = Settling, true }, true},
		{"what came while this node was away", func(st *state) { st.ready, st.stale = Settling, true }, true},
		{"a state that is ready", func(st *state) {}, true},
	} {
		p := newPair(t, Transport{}, "s")
		p.roster.get("b").worth = Joining
		p.attachedAt = p.now
		p.begin(p.now)
		st := p.states["s"]
		st.limitAt = Never
		c.do(st)
		best, wait := p.candidate(st)
		if (best != nil) != c.want || !c.want && wait != p.now+earlyAsk {
			t.Errorf("%s: %v, wait until %v", c.what, best, wait)
		}
	}
}

// A search is over after so long.
func TestLengthOfASearch(t *testing.T) {
	for took, want := range map[time.Duration]bool{maxSearch - 1: false, maxSearch: true} {
		s := search{open: true, began: time.Second}
		if got := s.turn(time.Second+took, 0); got != want {
			t.Errorf("after %v: over is %v", took, got)
		}
	}
}

// Whatever begins an exchange, no more than so many are under way.
func TestExchangesUnderWay(t *testing.T) {
	for what, begin := range map[string]func(p *pair){
		"a search":   func(p *pair) { p.want(p.states["s"], "gap"); p.states["s"].compare = true; p.asked.search(p.Core) },
		"the period": func(p *pair) { p.asked.period(p.Core) },
		"news":       func(p *pair) { p.states["s"].news = true; p.asked.news(p.Core, p.states["s"]) },
	} {
		for under, want := range map[int]int{maxPulls - 1: maxPulls, maxPulls: maxPulls} {
			p := newPair(t, Transport{}, "s")
			p.begin(p.now)
			for range under {
				p.asked.pulls = append(p.asked.pulls, &pull{node: &node{}, deadline: Never})
			}
			begin(p)
			if n := len(p.asked.pulls); n != want {
				t.Errorf("%s with %d under way: %d", what, under, n)
			}
		}
	}
	for level, want := range map[float64]int{startsBurst / 2: 1, startsBurst/2 - 0.01: 0} { // news leave room for what is needed
		p := newPair(t, Transport{}, "s")
		p.begin(p.now)
		p.asked.starts.level, p.asked.starts.at = level, p.now
		p.states["s"].news = true
		p.asked.news(p.Core, p.states["s"])
		if n := len(p.asked.pulls); n != want {
			t.Errorf("news, at a level of %v: %d", level, n)
		}
	}
}

// Who was busy may still answer: for that state, while it is there and has not.
func TestWhatIsOwed(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pair, pl *pull)
		want bool
	}{
		{"by a busy member", func(*pair, *pull) {}, true},
		{"for another state", func(p *pair, pl *pull) { pl.keys[0].state = p.states["t"] }, false},
		{"it has answered", func(p *pair, pl *pull) { pl.keys[0].stage = over }, false},
		{"it is gone", func(p *pair, pl *pull) { p.fail(pl.node) }, false},
	} {
		p := newPair(t, Transport{}, "s", "t")
		pl := &pull{node: p.roster.get("b"), deadline: Never, againAt: p.now + time.Second, keys: []*pullKey{{state: p.states["s"], stage: busyThere}}}
		p.asked.late = []*pull{pl}
		c.do(p, pl)
		if got := p.asked.owed(p.states["s"]); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
		if at := p.asked.againAt(pl.node, p.states["s"]); c.want != (at == pl.againAt) && pl.node.present() {
			t.Errorf("%s: asked again at %v", c.what, at)
		}
	}
}

// What a member is busy with is kept for so many exchanges.
func TestLateAnswersAreBounded(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	for i := range maxAnswers + 1 {
		pl := &pull{id: uint64(i), node: p.roster.get("b"), ended: true, keys: []*pullKey{{state: p.states["s"], stage: busyThere}}}
		p.asked.sweep(p.Core, pl)
		p.asked.sweep(p.Core, pl) // once more is nothing new
		if want := min(i+1, maxAnswers); len(p.asked.late) != want {
			t.Fatalf("%d are kept of %d", len(p.asked.late), i+1)
		}
	}
	if first := p.asked.late[0].id; first != 1 {
		t.Errorf("the first that is kept is %d", first)
	}
}

// A member that cannot be reached, or pieces of it, concern what it was asked.
func TestWhomAnExchangeIsWith(t *testing.T) {
	for _, c := range []struct {
		what   string
		event  Event
		sent   bool
		ended  bool
		longer bool
	}{
		{"its member is silent", Unsent{"b"}, true, true, false},
		{"another one is", Unsent{"c"}, true, false, false},
		{"before it was asked", Unsent{"b"}, false, false, false},
		{"a piece of its member", Progress{"b"}, true, false, true},
		{"a piece of another one", Progress{"c"}, true, false, false},
		{"a piece before it was asked", Progress{"b"}, false, false, false},
	} {
		p := newPair(t, Transport{Unicast: true}, "s")
		p.pull()
		pl := p.asked.pulls[0]
		pl.sent = c.sent
		p.now += answerPatience / 2
		before := pl.deadline
		p.step(c.event)
		if ended := len(p.asked.pulls) == 0; ended != c.ended || pl.deadline > before != c.longer {
			t.Errorf("%s: it ends is %v, until %v, before %v", c.what, ended, pl.deadline, before)
		}
	}
}

// What is abandoned leaves nothing under way, whatever was waited for.
func TestAbandoned(t *testing.T) {
	p := newPair(t, Transport{}, "s", "t", "u")
	p.pull()
	pl := p.asked.pulls[0]
	pl.keys[1].stage, pl.keys[2].stage = busyThere, merging
	p.asked.abandon(p.Core)
	for i, want := range []pullStage{over, over, merging} {
		if got := pl.keys[i].stage; got != want {
			t.Errorf("state %d is at stage %d, want %d", i, got, want)
		}
	}
	if len(p.asked.pulls) != 0 || p.states["s"].pull != nil || p.states["t"].pull != nil {
		t.Error("something is under way")
	}
}

// What a push changed is news unless it is known that it changed nothing.
func TestNewsOfAPushToAnUnknownState(t *testing.T) {
	for changed, want := range map[bool]bool{false: false, true: true} {
		p := newPair(t, Transport{Unicast: true}, "s")
		p.pull() // so that the digest is known: 1
		p.asked.abandon(p.Core)
		if changed {
			p.Assign("s", nil) // and is no more
		}
		p.sent = nil
		p.hears("b", &Push{To: "a", Key: "s", Data: []byte("x")})
		p.step(Merged{Job: take[Merge](p)[0].Job, Digest: 1, HasDigest: true})
		st := p.states["s"]
		if got := st.news || st.pull != nil; got != want {
			t.Errorf("changed before is %v: news is %v", changed, got)
		}
	}
}

// The others hear of what was sent, and of a gap, as soon as that is due, not when
// something else is.
func TestWaking(t *testing.T) {
	for what, do := range map[string]func(p *pair) (wake bool, at time.Duration){
		"an update is sent": func(p *pair) (bool, time.Duration) {
			_, n := p.Assign("s", nil)
			return p.Sent(p.now, "s", n), p.now + markDelay
		},
		"a gap": func(p *pair) (bool, time.Duration) {
			_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, 3)
			return p.Queued(p.now, r, true), p.now + reorderDelay
		},
		"no room": func(p *pair) (bool, time.Duration) {
			_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, 1)
			return p.Queued(p.now, r, false), p.now + reorderDelay
		},
		"something late of who has left": func(p *pair) (bool, time.Duration) {
			p.transport.Native = true
			p.hears("b", &Goodbye{Count: 9})
			p.roster.turn(p.roster.get("b"), left, p.now)
			p.markAt, p.wakeAt = Never, Never
			_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, 1)
			return p.Queued(p.now, r, true), p.now + markDelay
		},
	} {
		p := newPair(t, Transport{}, "s")
		p.beatOf()
		if wake, at := do(p); !wake || p.Next() != at {
			t.Errorf("%s: it wakes is %v, at %v, want %v", what, wake, p.Next(), at)
		}
	}
	p := newPair(t, Transport{}, "s")
	p.wakeAt = p.now + time.Millisecond
	_, n := p.Assign("s", nil)
	if wake := p.Sent(p.now, "s", n); wake || p.Next() != p.now+time.Millisecond {
		t.Error("it wakes later than it would have")
	}
	if p.wakeAt = p.now + time.Millisecond; true {
		_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, 3)
		if p.Queued(p.now, r, true); p.Next() != p.now+time.Millisecond {
			t.Error("it wakes later for a gap")
		}
	}
}

// A set of as many ranges as it may have stays whole.
func TestAFullSet(t *testing.T) {
	var rs Ranges
	for n := range uint64(maxRanges) {
		rs.Add(1+2*n, 1+2*n)
	}
	if lowest := rs.shed(); lowest != nil || len(rs) != maxRanges {
		t.Errorf("%d ranges are let go of", len(lowest))
	}
	rs.Add(1<<40, 1<<40)
	if lowest := rs.shed(); len(lowest) != maxRanges/2 || len(rs) != maxRanges/2+1 || lowest[0].First != 1 {
		t.Errorf("%d ranges are let go of, %d stay", len(lowest), len(rs))
	}
}

// Nodes that are forgotten are counted no more.
func TestRosterCounts(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	for _, name := range []string{"x", "y"} {
		p.meet(Member{Instance: name})
	}
	p.forget(p.roster.get("x"))
	if got := p.roster.count; got != [failed + 1]int{stranger: 1, live: 1} {
		t.Errorf("%v", got)
	}
}

// All lack a state when each has said so, or has the keys of one that said so; who speaks
// another protocol is not asked.
func TestAllLack(t *testing.T) {
	lacks := map[string]bool{"s": true}
	for _, c := range []struct {
		what string
		do   func(p *pair, b, c *node)
		want bool
	}{
		{"each has said so", func(p *pair, b, c *node) { b.lacks, c.lacks = lacks, lacks }, true},
		{"one has not", func(p *pair, b, c *node) { b.lacks = lacks; b.keySet, c.keySet = 1, 2 }, false},
		{"which has the same keys", func(p *pair, b, c *node) { b.lacks = lacks; b.keySet, c.keySet = 1, 1 }, true},
		{"which tells no keys", func(p *pair, b, c *node) { b.lacks = lacks; b.keySet, c.keySet = 0, 0 }, false},
		{"none has, with the same keys", func(p *pair, b, c *node) { b.keySet, c.keySet = 1, 1 }, false},
		{"the other one is foreign", func(p *pair, b, c *node) { b.lacks, c.Instance = lacks, "" }, true},
	} {
		p := newPair(t, Transport{}, "s")
		p.joins("c")
		c.do(p, p.roster.live[0], p.roster.live[1])
		if got := p.allLack(p.states["s"]); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// What is known of own numbers is known a moment after they were sent, to the moment.
func TestWhenOwnNumbersAreHeld(t *testing.T) {
	for _, c := range []struct {
		sent []time.Duration // when the numbers 1, 2 and so on were
		at   time.Duration
		want string
	}{
		{[]time.Duration{0}, holdDelay - 1, "{}"},
		{[]time.Duration{0}, holdDelay, "{1}"},
		{[]time.Duration{0, holdDelay}, 2*holdDelay - 1, "{}"},
		{[]time.Duration{0, holdDelay}, 2 * holdDelay, "{1-2}"},
		{[]time.Duration{0, holdDelay - 1, holdDelay}, holdDelay, "{}"},
		{[]time.Duration{0, holdDelay, 2 * holdDelay}, 2 * holdDelay, "{1}"},
	} {
		st := &state{}
		for i, at := range c.sent {
			st.sentUp(time.Minute+at, uint64(i+1))
		}
		if got := st.held(time.Minute + c.at).String(); got != c.want {
			t.Errorf("sent at %v: at %v it holds %s, want %s", c.sent, c.at, got, c.want)
		}
	}
}
