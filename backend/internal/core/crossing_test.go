package core

import (
	"slices"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// crossing is a node that is ready with the entries of s, and asks a member to compare.
type crossing struct {
	*pair
	with string
	view *reconcile.View
	pull *Pull
}

func newCrossing(t *testing.T, with string) *crossing {
	x := &crossing{pair: newPair(t, Transport{Unicast: true}, "s"), with: with, view: reconcile.NewView([]reconcile.ID{{1}, {2}}, 1)}
	x.joins(with)
	return x
}

// asks has the node ask.
func (x *crossing) asks() {
	x.sent = nil
	x.asked.start(x.Core, x.roster.get(x.with), x.free(func(*state) bool { return true }), "periodic")
	x.step(Tick{})
	x.tells()
	sent := x.sent
	pulls := take[*Pull](x.pair)
	if len(pulls) != 1 {
		x.t.Fatalf("%d pulls, of %+v", len(pulls), sent)
	}
	x.pull = pulls[0]
}

// tells tells what is wanted to be known of the state.
func (x *crossing) tells() {
	for {
		i := slices.IndexFunc(x.sent, func(e Effect) bool { _, is := e.(Marshal); return is })
		if i < 0 {
			return
		}
		m := x.sent[i].(Marshal)
		x.sent = slices.Delete(x.sent, i, i+1)
		x.Begin(m.Job)
		told := Marshalled{Job: m.Job, Digest: 1, HasDigest: true, Entries: 3}
		if m.Apart {
			told.View = x.view
		}
		x.step(told)
	}
}

// isAsked has the member ask, and returns what it is answered.
func (x *crossing) isAsked(it PullItem) Outcome {
	x.t.Helper()
	x.sent = nil
	it.Key, it.HasDigest, it.Digest, it.Entries = "s", true, 2, 3
	x.hears(x.with, &Pull{To: "a", ID: 7, Items: []PullItem{it}})
	x.tells()
	answers := take[*Answer](x.pair)
	if len(answers) != 1 || len(answers[0].Items) != 1 {
		x.t.Fatalf("%d answers", len(answers))
	}
	return answers[0].Items[0].Outcome
}

// isAnswered has the member answer that the state differs, and reports whether the node
// walks.
func (x *crossing) isAnswered() bool {
	x.sent = nil
	x.hears(x.with, &Answer{For: []Asker{{"a", x.pull.ID}}, End: true, Items: []AnswerItem{
		{Key: "s", Outcome: Apart, Worth: Whole, Salt: 1, Sketch: []uint64{7}, HasDigest: true, Digest: 2},
	}})
	x.tells()
	return len(take[*Walk](x.pair)) > 0
}

// Two that ask each other at once walk once, whoever hears the other first.
func TestTwoThatAskEachOther(t *testing.T) {
	for _, c := range []struct {
		with   string
		answer Outcome
		walks  bool
	}{{"b", Later, true}, {"0", Apart, false}} {
		x := newCrossing(t, c.with)
		x.asks()
		if got := x.isAsked(PullItem{}); got != c.answer {
			t.Errorf("asked by %s meanwhile it answers %d, want %d", c.with, got, c.answer)
		}
		if walks := x.isAnswered(); walks != c.walks {
			t.Errorf("beside %s it walks: %v, want %v", c.with, walks, c.walks)
		}

		x = newCrossing(t, c.with) // who asks later than it was asked
		if got := x.isAsked(PullItem{}); got != Apart {
			t.Errorf("asked by %s it answers %d", c.with, got)
		}
		x.after(time.Second)
		x.asks()
		if !x.isAnswered() {
			t.Errorf("after a walk of %s it does not walk", c.with)
		}
		if got := x.isAsked(PullItem{}); got != Later {
			t.Errorf("asked by %s while it walks it answers %d", c.with, got)
		}
	}
}

// Who needs something is answered, whoever asks whom.
func TestWhoNeedsSomethingIsAnswered(t *testing.T) {
	for _, it := range []PullItem{{All: true}, {Holes: []Numbers{{"x", 0, Ranges{{1, 1}}}}}} {
		x := newCrossing(t, "b")
		x.asks()
		if got := x.isAsked(it); got != Apart {
			t.Errorf("%+v is answered %d", it, got)
		}
	}
}

// A state is compared with a member by a walk with that one through that state; or, by the
// one of two that goes on, as soon as it waits for an answer that may begin a walk.
func TestWhatIsCompared(t *testing.T) {
	p := newPair(t, Transport{Unicast: true}, "s", "u")
	p.joins("c")
	b, c, s, u := p.roster.get("b"), p.roster.get("c"), p.states["s"], p.states["u"]
	walks := &asked{walks: []*walk{{key: &pullKey{state: s}, pull: &pull{node: b}}}}
	for _, at := range []struct {
		st   *state
		with *node
		want bool
	}{{s, b, true}, {s, c, false}, {u, b, false}, {u, c, false}} {
		if walks.compares(at.st, at.with, false) != at.want {
			t.Errorf("a walk through s with b: %s with %s is compared is %v", at.st.key, at.with.Instance, !at.want)
		}
	}
	for _, is := range []struct {
		key          pullKey
		goesOn, want bool
	}{
		{pullKey{state: s, digested: true, entries: 2}, true, true},
		{pullKey{state: s}, true, true}, // whether it has entries is not told yet
		{pullKey{state: s, digested: true}, true, false},
		{pullKey{state: s, digested: true, entries: 2}, false, false},
		{pullKey{state: s, digested: true, entries: 2, stage: busyThere}, true, false},
		{pullKey{state: s, stage: busyThere}, true, false},
		{pullKey{state: u, digested: true, entries: 2}, true, false},
		{pullKey{state: u, digested: true, entries: 2, stage: busyThere}, true, false},
	} {
		asks := &asked{pulls: []*pull{{node: b, keys: []*pullKey{&is.key}}}}
		if asks.compares(s, b, is.goesOn) != is.want {
			t.Errorf("%+v, goes on %v: compared is %v", is.key, is.goesOn, !is.want)
		}
		if asks.compares(s, c, is.goesOn) {
			t.Errorf("%+v is of b, and s is compared with c", is.key)
		}
	}
}
