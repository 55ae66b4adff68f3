package core

import (
	"fmt"
	"testing"
	"time"
)

// data answers the pull with data for the state s.
func data(pull *Pull, worth Worth) *Answer {
	return &Answer{For: []Asker{{"a", pull.ID}}, End: true, Sent: []string{"s"}, Items: []AnswerItem{
		{Key: "s", Outcome: Data, Worth: worth, HasDigest: true, Digest: 2, Data: []byte("x")},
	}}
}

// Digests that come when the exchange is over send nothing.
func TestDigestsThatComeTooLate(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.sent = nil
	p.asked.start(p.Core, p.roster.get("b"), p.free(func(*state) bool { return true }), "periodic")
	p.step(Tick{})
	job := take[Marshal](p)[0].Job
	p.asked.abandon(p.Core)
	p.step(Marshalled{Job: job, Digest: 1, HasDigest: true})
	if pulls := take[*Pull](p); len(pulls) != 0 {
		t.Errorf("%v", pulls)
	}
}

// One digest stands for all states where more than a few are compared.
func TestRootOfAPull(t *testing.T) {
	for _, n := range []int{rootAbove, rootAbove + 1} {
		var keys []string
		for i := range n {
			keys = append(keys, fmt.Sprint("k", i))
		}
		p := newPair(t, Transport{}, keys...)
		pull := p.pull()
		if want := n > rootAbove; pull.HasRoot != want || want && (pull.Keys != uint64(n) || len(pull.Items) != 0) || !want && len(pull.Items) != n {
			t.Errorf("%d states: %+v", n, pull)
		}
	}
}

// Only what was asked by one digest is answered by one word.
func TestAnswersByOneWord(t *testing.T) {
	rest := AnswerItem{Outcome: Equal, Worth: Whole}
	five := []string{"k0", "k1", "k2", "k3", "k4"}
	for _, c := range []struct {
		what  string
		keys  []string
		items []AnswerItem
		open  bool
	}{
		{"all are equal", five, []AnswerItem{rest}, false},
		{"the word is still to come", five, []AnswerItem{{Key: "k0", Outcome: Equal, Worth: Whole}}, true},
		{"it was asked state by state", five[:2], []AnswerItem{rest}, true},
	} {
		p := newPair(t, Transport{}, c.keys...)
		pull := p.pull()
		p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, Items: c.items})
		open := false
		for _, key := range c.keys {
			open = open || p.states[key].pull != nil
		}
		if open != c.open {
			t.Errorf("%s: the exchange is open is %v", c.what, open)
		}
	}
}

// A frame of an answer may be followed by pieces for a while, not by silence.
func TestPiecesAfterAFrame(t *testing.T) {
	p := newPair(t, Transport{}, "s", "t")
	pull := p.pull()
	p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, Items: []AnswerItem{{Key: "t", Outcome: Equal}}})
	for range 5 {
		p.after(answerPatience / 2)
		p.step(Progress{"b"})
	}
	if len(p.asked.pulls) != 1 {
		t.Error("given up though pieces arrive")
	}
	p.after(answerPatience + time.Millisecond)
	if len(p.asked.pulls) != 0 {
		t.Error("not given up though nothing arrives")
	}
}

// Whatever an answer says of a state after its data is a repeat.
func TestAnswerThatComesAgain(t *testing.T) {
	p := newPair(t, Transport{}, "s", "t")
	pull := p.pull()
	answer := data(pull, Whole)
	answer.End = false // t is still to come
	p.hears("b", answer)
	p.hears("b", answer)
	p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, Items: []AnswerItem{{Key: "s", Outcome: Equal}}})
	if m := take[Merge](p); len(m) != 1 {
		t.Errorf("%d merges", len(m))
	}
	if p.states["s"].pull == nil {
		t.Error("the exchange is over before the merge")
	}
}

// A state that was removed while its answer is merged is not pushed or compared.
func TestRemovedWhileMerging(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	pull := p.pull()
	p.hears("b", data(pull, Whole))
	job := take[Merge](p)[0].Job
	p.step(StateRemoved{Key: "s"})
	p.step(Merged{Job: job, HasDigest: true, Digest: 3})
	if m := take[Marshal](p); len(m) != 0 || len(p.asked.pulls) != 0 {
		t.Errorf("%v, %d exchanges", m, len(p.asked.pulls))
	}
}
