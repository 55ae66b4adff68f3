package core

import (
	"testing"
	"time"
)

// answers has the pull answered with one outcome for all its states.
func (p *pair) answers(pull *Pull, o Outcome) {
	a := &Answer{For: []Asker{{"a", pull.ID}}, End: true}
	for _, it := range pull.Items {
		a.Items = append(a.Items, AnswerItem{Key: it.Key, Outcome: o, Worth: Whole})
	}
	p.hears(pull.To, a)
}

// next returns the next pull, once the own states have told their digests.
func (p *pair) next(d time.Duration) *Pull {
	p.t.Helper()
	for end := p.now + d; p.now < end; {
		p.after(10 * time.Millisecond)
		sent := p.sent
		marshals := take[Marshal](p)
		p.sent = sent
		if pulls := take[*Pull](p); len(pulls) > 0 {
			return pulls[0]
		}
		for _, m := range marshals {
			p.Begin(m.Job)
			p.step(Marshalled{Job: m.Job, Digest: 1, HasDigest: true})
		}
	}
	return &Pull{}
}

// Two parts meet: each state is compared with one member of the other part that
// has it and answers.
func TestMeeting(t *testing.T) {
	for _, c := range []struct {
		what string
		outcome
		then string
	}{
		{"it is equal", answeredHere, ""},
		{"it lacks the state", lacked, "d"},
		{"it is silent", noReply, "c"},
		{"it is gone", noReply, "d"},
	} {
		p := newPair(t, Transport{}, "s")
		p.sent = nil
		for _, name := range []string{"d", "c"} {
			p.hears(name, &Heartbeat{Member: Member{Name: name}, Count: 1, Interval: time.Minute, Worth: Whole})
		}
		pull := p.next(time.Second)
		if pull.To != "c" {
			t.Fatalf("%q is asked first", pull.To)
		}
		switch {
		case c.outcome == answeredHere:
			p.answers(pull, Equal)
		case c.outcome == lacked:
			p.answers(pull, Lacking)
		case c.then == "d":
			p.hears("c", &Goodbye{Count: 2})
		}
		if pull := p.next(answerPatience + 2*busyPause); pull.To != c.then {
			t.Errorf("%s: %q is asked then", c.what, pull.To)
		}
	}
}

// Each state meets by itself: one that is not ready, here or at who was gone, keeps the
// others from nothing.
func TestMeetingByState(t *testing.T) {
	for what, meet := range map[string]func(p *pair){
		"of this node": func(p *pair) {
			p.step(StateAdded{Key: "t"})
			p.hears("c", &Heartbeat{Member: Member{Name: "c"}, Count: 1, Interval: time.Minute, Worth: Whole})
		},
		"of a member that was gone": func(p *pair) {
			p.joins("c")
			p.fail(p.roster.get("c"))
			p.hears("c", &Heartbeat{Member: Member{Name: "c"}, Count: 2, Interval: time.Minute, Worth: Joining})
		},
		"that this node was away for": func(p *pair) {
			p.setLink(catchingUp, ErrCatchingUp)
			p.catchUp = catchUp{until: p.now + time.Second, least: Never, echo: 100}
			p.hears("c", &Heartbeat{Member: Member{Name: "c"}, Count: 1, Interval: time.Minute, Worth: Whole})
		},
	} {
		p := newPair(t, Transport{}, "s")
		p.sent = nil
		meet(p)
		p.after(joinPause + time.Millisecond)
		if met := p.states["s"].met; len(met) != 1 || met[0].Name != "c" {
			t.Errorf("something that is not ready, %s: s meets %v", what, met)
		}
	}
}

// Members that never answer are given up.
func TestMeetingEnds(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.hears("c", &Heartbeat{Member: Member{Name: "c"}, Count: 1, Interval: time.Minute, Worth: Whole})
	n := 0
	for p.next(time.Minute).To != "" {
		n++
	}
	if n != maxRounds {
		t.Errorf("asked %d times", n)
	}
}

// Who was met asks for what it lacks, as this node does: it is not pushed what differs
// after the merge, nor is another asked at once.
func TestWhoWasMetAsksForItself(t *testing.T) {
	p := newPair(t, Transport{Unicast: true}, "s")
	p.hears("c", &Heartbeat{Member: Member{Name: "c"}, Count: 1, Interval: time.Minute, Worth: Whole})
	pull := p.next(time.Second)
	p.hears("c", &Answer{For: []Asker{{"a", pull.ID}}, End: true, Sent: []string{"s"}, Items: []AnswerItem{
		{Key: "s", Outcome: Data, Worth: Whole, HasDigest: true, Digest: 2, Data: []byte("x")},
	}})
	p.step(Merged{Job: take[Merge](p)[0].Job, HasDigest: true, Digest: 3})
	p.step(Tick{})
	if m := take[Marshal](p); len(m) != 0 {
		t.Errorf("the state is marshalled once more: %+v", m)
	}
}

// A state that is busy when a member is met is compared with it later.
func TestMeetingWhileBusy(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.sent = nil
	p.hears("c", &Heartbeat{Member: Member{Name: "c"}, Count: 1, Interval: time.Minute, Worth: Whole})
	p.after(joinPause + digestPatience + time.Millisecond)
	for _, m := range take[Marshal](p) {
		p.Begin(m.Job)
		p.step(Marshalled{Job: m.Job, Digest: 1, HasDigest: true})
	}
	if pull := p.next(2 * busyPause); pull.To != "c" {
		t.Errorf("%q is compared with", pull.To)
	}
}

// Who was met and differs asks for itself, as a rule. One that does not is compared with
// once more, and given what it lacks.
func TestWhoWasMetIsOwed(t *testing.T) {
	asks := func(m *Pull) func(p *pair) {
		m.To, m.ID = "a", 1
		return func(p *pair) { p.hears("c", m) }
	}
	for what, c := range map[string]struct {
		do   func(p *pair)
		owed bool
	}{
		"it does not ask":        {func(*pair) {}, true},
		"it asks":                {asks(&Pull{Items: []PullItem{{Key: "s", HasDigest: true, Digest: 2}}}), false},
		"it compares all states": {asks(&Pull{HasRoot: true, Root: 7, Keys: 1}), false},
		"it asks for another":    {asks(&Pull{Items: []PullItem{{Key: "t"}}}), true},
		"another asks":           {func(p *pair) { p.hears("b", &Pull{To: "a", ID: 1, Items: []PullItem{{Key: "s"}}}) }, true},
		"it is gone":             {func(p *pair) { p.hears("c", &Goodbye{Count: 2}) }, false},
		"it lacks the state":     {func(p *pair) { p.roster.get("c").lacks = map[string]bool{"s": true} }, false},
	} {
		p := newPair(t, Transport{Unicast: true}, "s")
		p.sent = nil
		p.meets("c")
		if n := p.differs(p.next(time.Second)); n != 0 {
			t.Errorf("%s: it was given the state when it was met", what)
		}
		c.do(p)
		pull := p.next(metPatience + time.Second)
		if (pull.To == "c") != c.owed {
			t.Errorf("%s: %q is compared with once more", what, pull.To)
		}
		if c.owed && p.differs(pull) != 1 {
			t.Errorf("%s: it is not given the state", what)
		}
	}
}

// Two that were met one after the other, and differ, are both owed.
func TestTwoThatWereMetAreOwed(t *testing.T) {
	p := newPair(t, Transport{Unicast: true}, "s")
	p.sent = nil
	for _, who := range []string{"c", "d"} {
		p.meets(who)
		if pull := p.next(time.Second); pull.To != who || p.differs(pull) != 0 {
			t.Fatalf("%s was met: %q is compared with", who, pull.To)
		}
	}
	for _, who := range []string{"c", "d"} {
		if pull := p.next(metPatience + time.Second); pull.To != who || p.differs(pull) != 1 {
			t.Errorf("%q is given the state, not %s", pull.To, who)
		}
	}
}

// meets has the node hear of a member that was ready before.
func (p *pair) meets(who string) {
	p.hears(who, &Heartbeat{Member: Member{Name: who}, Count: 1, Interval: time.Minute, Worth: Whole})
}

// differs answers a comparison with another state. It returns how often the node then
// gives its own.
func (p *pair) differs(pull *Pull) (pushes int) {
	p.sent = nil
	p.hears(pull.To, &Answer{For: []Asker{{"a", pull.ID}}, End: true, Sent: []string{"s"}, Items: []AnswerItem{
		{Key: "s", Outcome: Data, Worth: Whole, HasDigest: true, Digest: 2, Data: []byte("theirs")},
	}})
	for _, m := range take[Merge](p) {
		p.Begin(m.Job)
		p.step(Merged{Job: m.Job, HasDigest: true, Digest: 3})
	}
	for _, m := range take[Marshal](p) {
		p.Begin(m.Job)
		p.step(Marshalled{Job: m.Job, HasDigest: true, Digest: 3, Data: []byte("ours")})
	}
	return len(take[*Push](p))
}
