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
