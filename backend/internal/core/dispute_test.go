package core

import (
	"testing"
	"time"
)

// named has b's view differ from a's, by name.
func (p *pair) named(without ...string) *node {
	b := p.roster.get("b")
	b.view = ViewDigest{1, 1}
	b.dispute.since = p.now
	p.differ(b, without, nil)
	return b
}

// A view that was not told, or of who is in the view no more, differs from none.
func TestViewsThatSayNothing(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	b := p.roster.get("b")
	for what, c := range map[string]struct {
		life life
		view ViewDigest
		want bool
	}{
		"another view":              {live, ViewDigest{5, 5}, true},
		"no view":                   {live, ViewDigest{}, false},
		"of who has left":           {left, ViewDigest{5, 5}, false},
		"the same view":             {live, p.viewDigest(), false},
		"no view, of who is failed": {failed, ViewDigest{}, false},
	} {
		b.life, b.dispute = c.life, dispute{}
		p.seeView(b, c.view)
		if got := b.dispute.since > 0; got != c.want {
			t.Errorf("%s: it differs is %v", what, got)
		}
	}
}

// Only a disagreement outlasts anything, and only after a while.
func TestADisagreementOutlasts(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	b := p.roster.get("b")
	p.now += time.Hour
	p.begin(p.now)
	if p.outlasts(b) {
		t.Error("there is none")
	}
	b.dispute.since = p.now
	for after, want := range map[time.Duration]bool{-1: false, 0: true} {
		p.Core.now = p.now + p.patience(b) + after
		if p.outlasts(b) != want {
			t.Errorf("%v after its patience: %v", after, !want)
		}
	}
}

// A member counts for the digest of a view after six intervals.
func TestSteady(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	began, beat := p.now, uint64(0)
	for c := (*node)(nil); c == nil || !c.steady; c = p.roster.get("c") {
		beat++
		p.hears("c", &Heartbeat{Member: Member{Name: "c"}, Count: beat, Interval: 500 * time.Millisecond, Worth: Whole})
		p.after(100 * time.Millisecond)
		if p.now > began+time.Minute {
			t.Fatal("it never is")
		}
	}
	if after := p.now - began; after < steadyBeats*500*time.Millisecond || after > (steadyBeats+2)*500*time.Millisecond {
		t.Errorf("steady after %v", after)
	}
	if d := p.viewDigest(); d != DigestOf("a", "c") {
		t.Errorf("the digest is of %d", d.Count)
	}
}

// Whom two views differ in is known from the digests where it is one member that the other
// lacks; else the other's list is asked for.
func TestWhomViewsDifferIn(t *testing.T) {
	for _, c := range []struct {
		what string
		view func(p *pair) ViewDigest
		asks bool
	}{
		{"it lacks this node", func(*pair) ViewDigest { return DigestOf("b", "c") }, false},
		{"it lacks c", func(*pair) ViewDigest { return DigestOf("a", "b") }, false},
		{"it lacks itself", func(*pair) ViewDigest { return DigestOf("a", "c") }, true},
		{"it lacks somebody else", func(p *pair) ViewDigest { return ViewDigest{p.viewDigest().Hash ^ 1, 2} }, true},
		{"it has one more", func(*pair) ViewDigest { return DigestOf("a", "b", "c", "d") }, true},
		{"it has another one", func(*pair) ViewDigest { return DigestOf("a", "b", "d") }, true},
	} {
		p := newPair(t, Transport{}, "s")
		p.joins("c")
		for _, name := range []string{"b", "c"} {
			p.roster.get(name).since = -time.Hour
		}
		p.self.at = p.now
		p.step(Tick{})
		b := p.roster.get("b")
		b.view = c.view(p)
		p.sent = nil
		p.compareViews(b)
		p.step(Tick{})
		if asked := len(take[*ListRequest](p)) == 1; asked != c.asks || b.dispute.named == c.asks {
			t.Errorf("%s: its list is asked for is %v, it is named is %v", c.what, asked, b.dispute.named)
		}
	}
}

// A list is asked for with a back-off, and one for each view that differs.
func TestListsThatAreAskedFor(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pair, b, c *node)
		want bool
	}{
		{"the first time", func(p *pair, b, c *node) {}, true},
		{"within the pause", func(p *pair, b, c *node) { b.dispute.asked, b.dispute.pause = p.now-time.Second, 2*time.Second }, false},
		{"after the pause", func(p *pair, b, c *node) { b.dispute.asked, b.dispute.pause = p.now-2*time.Second, 2*time.Second }, true},
		{"c has the same view, and was asked", func(p *pair, b, c *node) { c.dispute.asked, c.dispute.pause = p.now-time.Second, 2*time.Second }, false},
		{"it was asked long ago", func(p *pair, b, c *node) { c.dispute.asked, c.dispute.pause = p.now-2*time.Second, 2*time.Second }, true},
		{"it was not asked", func(p *pair, b, c *node) { c.dispute.asked, c.dispute.pause = 0, time.Hour }, true},
		{"c has another view", func(p *pair, b, c *node) {
			c.dispute.asked, c.dispute.pause, c.view = p.now, time.Hour, ViewDigest{9, 9}
		}, true},
		{"c is gone", func(p *pair, b, c *node) { c.dispute.asked, c.dispute.pause, c.life = p.now, time.Hour, failed }, true},
	} {
		p := newPair(t, Transport{}, "s")
		p.joins("c")
		b, other := p.roster.get("b"), p.roster.get("c")
		b.view, other.view = ViewDigest{1, 1}, ViewDigest{1, 1}
		c.do(p, b, other)
		p.sent = nil
		before := b.dispute.pause
		p.askList(b)
		p.step(Tick{})
		if got := len(take[*ListRequest](p)) == 1; got != c.want {
			t.Errorf("%s: asked is %v", c.what, got)
		}
		if c.want && b.dispute.pause != 2*max(before, firstPause) {
			t.Errorf("%s: the pause is %v", c.what, b.dispute.pause)
		}
	}
}

// A disagreement ends when this node's own view has become the other's.
func TestAgreeing(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	b := p.named("c")
	p.agreeNow()
	if b.dispute.since == 0 {
		t.Fatal("views that differ agree")
	}
	b.view = p.viewDigest()
	p.agreeNow()
	if b.dispute.since != 0 || b.dispute.named {
		t.Error("views that are the same do not agree")
	}
}

// Where heartbeats are rare, who differs by name is asked again, while the link is there.
func TestAskedAgainByMarks(t *testing.T) {
	for link, want := range map[link]bool{attached: true, down: false} {
		p := newPair(t, Transport{Native: true}, "s")
		p.step(Listed{[]Member{{Name: "a", Instance: "a"}, {Name: "b", Instance: "b"}}})
		p.named("c")
		p.link = link
		p.sent = nil
		p.askAgain()
		p.step(Tick{})
		if got := len(take[*ListRequest](p)) == 1; got != want {
			t.Errorf("%v: asked is %v", link, got)
		}
	}
}
