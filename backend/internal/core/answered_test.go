package core

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// Who asks again before it is answered is answered once, by what it asked last.
func TestWhoAsksTwice(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	for id := range uint64(2) {
		p.hears("b", &Pull{To: "a", ID: id + 1, Items: []PullItem{{Key: "t"}}})
	}
	p.after(2 * shareWindow)
	answers := take[*Answer](p)
	if len(answers) != 1 || len(answers[0].For) != 1 || answers[0].For[0].ID != 2 {
		t.Errorf("%v", answers)
	}
}

// So many may wait for an answer, and so many are answered at once; who waits is
// answered when another one was.
func TestAskersAreBounded(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.answered.starts = newBucket(1, 2*maxAskers)
	for i := range maxAskers + 1 {
		name := fmt.Sprint("m", i)
		p.joins(name)
		if i == maxAskers {
			p.sent = nil
		}
		p.hears(name, &Pull{To: "a", ID: 1, Items: []PullItem{{Key: "s", HasDigest: true, Digest: uint64(i)}}})
	}
	if n, waiting := notes(p, NoteLimited), len(p.answered.waiting); n != 1 || waiting != maxAskers {
		t.Errorf("%d wait, and %d are limited", waiting, n)
	}
	p.states["s"].marshals = -2 * maxAskers // it does not hang
	p.sent = nil
	p.after(shareWindow + time.Millisecond)
	marshals := take[Marshal](p)
	if len(marshals) != maxAnswers {
		t.Fatalf("%d are answered at once, want %d", len(marshals), maxAnswers)
	}
	p.step(Marshalled{Job: marshals[0].Job, Data: []byte("x")})
	if n := len(take[Marshal](p)); n != 1 {
		t.Errorf("%d are answered when one was, want 1", n)
	}
	if n := len(p.answered.open()); n != maxAnswers {
		t.Errorf("%d answers are under way, want %d", n, maxAnswers)
	}
}

// On a bus those that ask the same are answered as one.
func TestWhatIsTheSame(t *testing.T) {
	root := func(change func(*Pull)) *Pull {
		m := &Pull{HasRoot: true, Root: 1, Keys: 5, Items: []PullItem{{Key: "s", HasDigest: true, Digest: 2}}}
		change(m)
		return m
	}
	same := root(func(*Pull) {})
	for what, c := range map[string]struct {
		change func(*Pull)
		want   bool
	}{
		"the same":              {func(*Pull) {}, true},
		"of another asker":      {func(m *Pull) { m.ID = 7 }, true},
		"with other holes":      {func(m *Pull) { m.Items[0].Holes = []Numbers{{"b", 0, Ranges{{1, 1}}}} }, true},
		"no root":               {func(m *Pull) { m.HasRoot = false }, false},
		"another root":          {func(m *Pull) { m.Root = 2 }, false},
		"of another number":     {func(m *Pull) { m.Keys = 4 }, false},
		"another key":           {func(m *Pull) { m.Items[0].Key = "t" }, false},
		"no digest":             {func(m *Pull) { m.Items[0].HasDigest = false }, false},
		"another digest":        {func(m *Pull) { m.Items[0].Digest = 3 }, false},
		"all numbers":           {func(m *Pull) { m.Items[0].All = true }, false},
		"one state more":        {func(m *Pull) { m.Items = append(m.Items, PullItem{Key: "t"}) }, false},
		"no state of which one": {func(m *Pull) { m.Items = nil }, false},
	} {
		if got := sameDigests(same, root(c.change)); got != c.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// What a budget does not allow is answered later, state by state.
func TestAnswersWithoutABudget(t *testing.T) {
	for what, spend := range map[string]func(*answered){
		"of answers": func(a *answered) { a.starts = newBucket(0.001, 0) },
		"of bytes":   func(a *answered) { a.bytes = newBucket(0.001, 0) },
	} {
		p := newPair(t, Transport{Unicast: true}, "s", "t")
		spend(&p.answered)
		p.sent = nil
		p.hears("b", &Pull{To: "a", ID: 1, Items: []PullItem{{Key: "s"}, {Key: "t"}}})
		p.step(Tick{})
		answers := take[*Answer](p)
		if len(answers) != 1 || describe(answers[0]) != "answer to b.1 s later t later end" {
			t.Errorf("%s: %v", what, answers)
		}
	}
}

// Of several that ask the same one may want all numbers: they are told to all of them.
func TestAllNumbersForOneOfMany(t *testing.T) {
	for first := range 2 {
		p := newPair(t, Transport{}, "s")
		_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, 1)
		p.Queued(p.now, r, true)
		p.UpdateMerged(p.now, r, nil)
		p.joins("c")
		group := []request{
			{p.roster.get("b"), &Pull{ID: 1, Items: []PullItem{{Key: "s", All: first == 0}}}},
			{p.roster.get("c"), &Pull{ID: 2, Items: []PullItem{{Key: "s", All: first == 1}}}},
		}
		p.sent = nil
		p.answered.begin(p.Core, group)
		p.step(Tick{})
		m := take[Marshal](p)[0]
		p.Begin(m.Job)
		p.step(Marshalled{Job: m.Job, Data: []byte("x")})
		answers := take[*Answer](p)
		if len(answers) != 1 || len(answers[0].For) != 2 || len(answers[0].Items[0].Numbers) != 1 {
			t.Errorf("%v", answers)
		}
	}
}

// The digests of all states are compared as one only where each state has one, and in
// time.
func TestRootOfAnAnswer(t *testing.T) {
	root := func(digests ...uint64) (r, n uint64) {
		return rootOf(func(yield func(string, uint64)) {
			for i, d := range digests {
				yield([]string{"s", "t"}[i], d)
			}
		})
	}
	for _, c := range []struct {
		what   string
		asks   []uint64 // digests
		second Marshalled
		want   string
	}{
		{"equal", []uint64{7, 8}, Marshalled{Digest: 8, HasDigest: true}, "answer to b.9 everything equal whole end"},
		{"different", []uint64{7, 9}, Marshalled{Digest: 8, HasDigest: true}, "answer to b.9 differ end"},
		{"fewer", []uint64{7}, Marshalled{Digest: 8, HasDigest: true}, "answer to b.9 differ end"},
		{"one without a digest", []uint64{7, 0}, Marshalled{}, "answer to b.9 differ end"},
		{"one that fails", []uint64{7, 8}, Marshalled{Digest: 8, HasDigest: true, Err: errors.New("no")}, "answer to b.9 differ end"},
	} {
		p := newPair(t, Transport{Unicast: true}, "s", "t")
		r, n := root(c.asks...)
		answers := p.answer(&Pull{To: "a", ID: 9, HasRoot: true, Root: r, Keys: n}, func(m Marshal) Marshalled {
			if !m.OnlyDigest {
				t.Errorf("%s: more than the digest is marshalled", c.what)
			}
			if m.Key == "s" {
				return Marshalled{Digest: 7, HasDigest: true}
			}
			return c.second
		})
		if len(answers) != 1 || describe(answers[0]) != c.want {
			t.Errorf("%s: %s", c.what, describe(answers[0]))
		}
	}
	t.Run("too slow", func(t *testing.T) {
		p := newPair(t, Transport{Unicast: true}, "s", "t")
		r, n := root(7, 8)
		p.sent = nil
		p.hears("b", &Pull{To: "a", ID: 9, HasRoot: true, Root: r, Keys: n})
		p.step(Tick{})
		marshals := take[Marshal](p)
		p.after(busyAfter)
		answers := take[*Answer](p)
		if len(answers) != 1 || describe(answers[0]) != "answer to b.9 differ end" {
			t.Fatalf("%v", answers)
		}
		for _, m := range marshals {
			p.step(Marshalled{Job: m.Job, Digest: 7, HasDigest: true})
		}
		if late := take[*Answer](p); len(late) != 0 || len(p.answered.under) != 0 {
			t.Errorf("it is answered once more: %v", late)
		}
	})
}

// A frame of an answer is sent when it is full, or when its data has waited for more.
func TestWhenAnAnswerIsSent(t *testing.T) {
	for _, c := range []struct {
		what   string
		first  Marshalled // of two states
		atOnce bool
		after  bool // after answerPause
	}{
		{"a full frame", Marshalled{Data: make([]byte, answerBatch)}, true, true},
		{"less", Marshalled{Data: make([]byte, answerBatch-1)}, false, true},
		{"no data", Marshalled{Digest: 1, HasDigest: true}, false, false},
	} {
		p := newPair(t, Transport{Unicast: true}, "s", "t")
		p.sent = nil
		p.hears("b", &Pull{To: "a", ID: 9, Items: []PullItem{{Key: "s", HasDigest: true, Digest: 1}, {Key: "t"}}})
		p.step(Tick{})
		c.first.Job = take[Marshal](p)[0].Job
		p.step(c.first)
		n := len(take[*Answer](p))
		p.after(answerPause)
		m := n + len(take[*Answer](p))
		if n == 1 != c.atOnce || m == 1 != c.after {
			t.Errorf("%s: %d at once, %d then", c.what, n, m)
		}
	}
}

// Of two answers under way one ends without the other.
func TestTwoAnswersUnderWay(t *testing.T) {
	p := newPair(t, Transport{Unicast: true}, "s", "t")
	p.joins("c")
	p.sent = nil
	p.hears("b", &Pull{To: "a", ID: 1, Items: []PullItem{{Key: "s"}}})
	p.hears("c", &Pull{To: "a", ID: 2, Items: []PullItem{{Key: "t"}}})
	p.step(Tick{})
	marshals := take[Marshal](p)
	p.step(Marshalled{Job: marshals[0].Job, Data: []byte("x")})
	if n := len(p.answered.open()); n != 1 || len(take[*Answer](p)) != 1 {
		t.Errorf("%d answers are under way, want one", n)
	}
	p.after(busyAfter) // the other one's state is busy
	if busy := take[*Answer](p); len(busy) != 1 || describe(busy[0]) != "answer to c.2 t busy end" {
		t.Errorf("%v", busy)
	}
	p.step(Marshalled{Job: marshals[1].Job, Data: []byte("x")})
	if late := take[*Answer](p); len(late) != 1 || describe(late[0]) != "answer to c.2 t data whole(x)" {
		t.Errorf("%v", late)
	}
	if n := len(p.answered.under); n != 0 {
		t.Errorf("%d are kept", n)
	}
}
