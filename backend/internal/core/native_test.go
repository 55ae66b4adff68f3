package core

import (
	"testing"
	"time"
)

// lists tells a native transport's list: this node and these.
func (p *pair) lists(names ...string) {
	all := []Member{{Name: "a", Instance: "a"}}
	for _, name := range names {
		all = append(all, Member{Name: name, Instance: name})
	}
	p.step(Listed{all})
}

// A transport may know this node's address better than it does, if it tells one.
func TestTheOwnAddress(t *testing.T) {
	p := newPair(t, Transport{Native: true}, "s")
	for _, c := range []struct{ listed, want string }{{"", ""}, {"h:1", "h:1"}, {"", "h:1"}, {"h:2", "h:2"}} {
		p.step(Listed{[]Member{{Name: "a", Instance: "a", Addr: c.listed}}})
		if got := p.View().Members[0].Addr; got != c.want {
			t.Errorf("listed as %q: %q", c.listed, got)
		}
	}
}

// Who has left and is listed again, after a list that lacked it, may count anew; who failed
// goes on.
func TestListedAgain(t *testing.T) {
	for how, want := range map[life]uint64{left: 1, failed: 9} {
		p := newPair(t, Transport{Native: true}, "s")
		p.lists("b")
		b := p.roster.get("b")
		b.count = 9
		if how == left {
			p.step(Left{Member{Name: "b", Instance: "b"}})
		}
		p.lists("b")
		if how == left && b.life != left {
			t.Error("a list from before it left revives it")
		}
		p.lists()
		if b.life != how {
			t.Fatalf("it is %v", b.life)
		}
		p.lists("b")
		p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Count: 1, Interval: time.Minute, Worth: Whole})
		if b.life != live || b.count != want {
			t.Errorf("%v: it is %v, at %d", how, b.life, b.count)
		}
	}
}

// A member that says that it leaves is out of the view at once, though the list has it
// until its transport has closed; and has not failed when the list lacks it. One that
// contradicts is back, and so is one that the list has for longer.
func TestWhoLeavesAndIsListed(t *testing.T) {
	mark := func(incarnation uint32, count uint64, leaving bool) *Heartbeat {
		return &Heartbeat{Member: Member{Name: "b"}, Incarnation: incarnation, Count: count, Interval: time.Minute, Worth: Whole, Leaving: leaving}
	}
	for what, say := range map[string]func(*pair){
		"its mark": func(p *pair) { p.hears("b", mark(0, 9, true)) },
		"its mark and its goodbye": func(p *pair) {
			p.hears("b", mark(0, 9, true))
			p.hears("b", &Goodbye{Count: 10})
		},
		"its goodbye": func(p *pair) { p.hears("b", &Goodbye{Count: 10}) },
		"its mark and the transport": func(p *pair) {
			p.hears("b", mark(0, 9, true))
			p.step(Left{Member{Name: "b", Instance: "b"}})
		},
	} {
		begin := func() (*pair, *node) {
			p := newPair(t, Transport{Native: true}, "s")
			p.lists("b")
			p.hears("b", mark(0, 8, false))
			say(p)
			return p, p.roster.get("b")
		}
		members := func(p *pair, want int, when string) {
			t.Helper()
			if n := len(p.View().Members); n != want {
				t.Errorf("%s, %s: %d members; b is %v", what, when, n, p.roster.get("b").life)
			}
		}
		p, b := begin()
		members(p, 1, "at once")
		p.hears("b", mark(0, 8, false)) // a copy
		p.lists("b")
		members(p, 1, "and a list that still has it")
		p.hears("b", mark(1, 1, false))
		members(p, 2, "which it says is false")
		p.hears("b", mark(1, 2, true))
		p.lists()
		if b.life != left {
			t.Errorf("%s, and a list without it: b is %v", what, b.life)
		}
		p.hears("b", mark(2, 1, false))
		members(p, 1, "contradicted by one that is not listed")
		p.lists("b")
		members(p, 2, "and listed anew")

		p, _ = begin()
		p.after(parting - time.Millisecond)
		members(p, 1, "before it is doubted")
		p.after(2 * time.Millisecond)
		want := 2
		if what == "its mark and the transport" {
			want = 1
		}
		members(p, want, "and listed for long")
	}
}

// That it leaves is not believed for longer because this node was away meanwhile.
func TestWhoLeavesWhileThisNodeIsAway(t *testing.T) {
	p := newPair(t, Transport{Native: true}, "s")
	p.lists("b")
	p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Count: 9, Interval: time.Minute, Worth: Whole, Leaving: true})
	p.step(LinkDown{})
	p.after(2 * parting)
	p.step(LinkUp{Transport{Native: true}})
	p.lists("b")
	if n := len(p.View().Members); n != 2 {
		t.Errorf("%d members; b is %v", n, p.roster.get("b").life)
	}
}

// Who closes says again that it leaves, where a list may have it for long.
func TestALongGoodbye(t *testing.T) {
	p := newPair(t, Transport{Native: true}, "s")
	p.lists("b")
	take[*Heartbeat](p)
	p.step(Close{})
	p.after(5 * partingAgain)
	marks := take[*Heartbeat](p)
	if len(marks) != 6 {
		t.Errorf("%d marks in five seconds, want one at once and one each second", len(marks))
	}
	for _, m := range marks {
		if !m.Leaving {
			t.Error("a mark does not say that it leaves")
		}
	}
}

// A member that a list lacks after an outage is kept for a while, unless it was heard
// since or said that it leaves.
func TestWhoIsExcused(t *testing.T) {
	const grace = 10 * time.Second
	for _, c := range []struct {
		what string
		do   func(b *node, now time.Duration)
		want bool
	}{
		{"not heard since", func(b *node, now time.Duration) { b.heardAt = now }, true},
		{"lacking before", func(b *node, now time.Duration) { b.lacking, b.heardAt = true, now+time.Second }, true},
		{"heard since", func(b *node, now time.Duration) { b.heardAt = now + 1 }, false},
		{"for too long", func(b *node, now time.Duration) { b.unlisted, b.lacking = now, true }, false},
		{"it said that it leaves", func(b *node, _ time.Duration) { b.parting = true }, false},
		{"nothing was allowed", func(b *node, now time.Duration) { b.unlisted = 0 }, false},
	} {
		p := newPair(t, Transport{Native: true}, "s")
		b := p.roster.get("b")
		b.unlisted, b.heardAt = p.now+grace, 0
		c.do(b, p.now)
		if got := p.isExcused(b); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// A transport's own exchange makes ready what its head and its data have, and ends a
// comparison with a member, but no catching up.
func TestWhatAnExchangeBrings(t *testing.T) {
	item := AnswerItem{Key: "s", Outcome: Data, Worth: Whole}
	for _, c := range []struct {
		what    string
		e       Exchanged
		stale   bool
		ready   Readiness
		compare bool
	}{
		{"of a member", Exchanged{Head: &Head{Instance: "b", Items: []AnswerItem{item}}, Keys: []string{"s"}}, false, Synced, false},
		{"of nobody that is known", Exchanged{Head: &Head{Instance: "x", Items: []AnswerItem{item}}, Keys: []string{"s"}}, false, Synced, true},
		{"while catching up", Exchanged{Head: &Head{Instance: "b", Items: []AnswerItem{item}}, Keys: []string{"s"}}, true, Synced, true},
		{"without the state", Exchanged{Head: &Head{Instance: "b", Items: []AnswerItem{item}}}, false, Settling, true},
		{"without its numbers", Exchanged{Head: &Head{Instance: "b"}, Keys: []string{"s"}}, false, Settling, true},
		{"that could not be merged", Exchanged{Head: &Head{Instance: "b", Items: []AnswerItem{item}}, Keys: []string{"s"}, Failed: []string{"s"}}, false, Settling, true},
	} {
		p := newPair(t, Transport{Native: true}, "s")
		p.lists("b")
		st := p.states["s"]
		st.ready, st.limitAt, st.compare, st.stale = Settling, Never, true, c.stale
		c.e.Head.View = ViewDigest{5, 5}
		p.onExchanged(c.e)
		if seen := p.roster.get("b").view == c.e.Head.View; seen != (c.e.Head.Instance == "b") {
			t.Errorf("%s: the view of b is %v", c.what, p.roster.get("b").view)
		}
		if st.ready != c.ready || st.compare != c.compare {
			t.Errorf("%s: it is %v, a comparison is open is %v", c.what, st.ready, st.compare)
		}
	}
}

// A full state of another protocol makes nothing ready where nobody is there to speak it.
func TestAForeignStateOfNobody(t *testing.T) {
	for _, c := range []struct {
		what    string
		members []Member
		want    Readiness
	}{
		{"one foreign member", []Member{{Name: "x"}}, Synced},
		{"one of ours too", []Member{{Name: "x"}, {Name: "b", Instance: "b"}}, Settling},
		{"nobody", nil, Settling},
	} {
		p := &pair{t: t, now: time.Second, Core: New(Config{
			Self: Member{Name: "a", Instance: "a"}, Heartbeat: time.Second, Grace: time.Second, Settle: 10 * time.Second, Sync: time.Minute,
		}, time.Second)}
		p.step(StateAdded{Key: "s"})
		p.step(LinkUp{Transport{Native: true, Exchange: true}})
		p.step(Listed{append([]Member{{Name: "a", Instance: "a"}}, c.members...)})
		p.states["s"].ready = Settling
		p.onExchanged(Exchanged{Keys: []string{"s"}})
		if got := p.states["s"].ready; got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// Only who is a member is kept out of the view for saying that it leaves: what one that has
// failed said says nothing of who is listed now.
func TestWhoFailedAndLeavesIsListedAgain(t *testing.T) {
	p := newPair(t, Transport{Native: true}, "s")
	p.lists("b")
	p.lists()
	b := p.roster.get("b")
	if b.life != failed {
		t.Fatalf("b is %v", b.life)
	}
	p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Count: b.count + 1, Interval: time.Minute, Leaving: true, Worth: Whole})
	p.lists("b")
	if b.life != live {
		t.Errorf("b is %v though it is listed", b.life)
	}
}
