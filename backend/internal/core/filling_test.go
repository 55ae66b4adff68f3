package core

import (
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// filling returns a node that walks through b's state for its own, which is not ready.
func filling(t *testing.T) (p *pair, step *Walk) {
	t.Helper()
	p = newPair(t, Transport{Unicast: true})
	p.joins("c")
	p.hears("d", &Heartbeat{Member: Member{Name: "d"}, Count: 1, Interval: time.Minute, Worth: Joining})
	p.step(StateAdded{Key: "s"})
	view := reconcile.NewView(nil, 1)
	var pull *Pull
	for range 10 {
		p.after(20 * time.Millisecond)
		sent := p.sent
		marshals := take[Marshal](p)
		p.sent = sent
		for _, m := range marshals {
			p.Begin(m.Job)
			p.step(Marshalled{Job: m.Job, Digest: 1, HasDigest: true, Entries: 1, View: view})
		}
		sent = p.sent
		if pulls := take[*Pull](p); len(pulls) > 0 {
			pull = pulls[0]
			p.hears(pull.To, &Answer{For: []Asker{{"a", pull.ID}}, End: true, Items: []AnswerItem{
				{Key: "s", Outcome: Apart, Worth: Whole, Salt: 1, Sketch: []uint64{7}, HasDigest: true, Digest: 9},
			}})
			continue
		}
		p.sent = sent
		if steps := take[*Walk](p); len(steps) > 0 {
			return p, steps[0]
		}
	}
	t.Fatal("it does not walk")
	return nil, nil
}

// A state that is filled is no source for who is whole: it would list what others have
// given. Who joins too, or misses something, is answered, and who asks when it is over.
func TestWhatIsFilledIsNoSource(t *testing.T) {
	item := PullItem{Key: "s", HasDigest: true, Digest: 5, Entries: 100}
	asks := func(p *pair, from string, it PullItem) (answers []*Answer, marshals int) {
		p.hears(from, &Pull{To: "a", ID: 3, Items: []PullItem{it}})
		sent := p.sent
		marshals = len(take[Marshal](p))
		p.sent = sent
		return take[*Answer](p), marshals
	}
	p, step := filling(t)
	other := "c"
	if step.To == "c" {
		other = "b"
	}
	if answers, marshals := asks(p, other, item); marshals != 0 || len(answers) != 1 || answers[0].Items[0].Outcome != Later {
		t.Errorf("who is whole: %d states are looked at, %v", marshals, answers)
	}
	missing, all := item, item
	missing.Holes = []Numbers{{"x", 0, Ranges{{1, 1}}}}
	all.All = true
	for what, c := range map[string]struct {
		from string
		item PullItem
	}{"who misses something": {other, missing}, "who needs all": {other, all}, "who joins too": {"d", item}} {
		p, _ := filling(t)
		if _, marshals := asks(p, c.from, c.item); marshals != 1 {
			t.Errorf("%s: %d states are looked at", what, marshals)
		}
	}
	p.hears(step.To, &Walked{For: Asker{"a", step.ID}, Key: "s", Step: step.Step, Outcome: Apart})
	if _, marshals := asks(p, other, item); marshals != 1 {
		t.Errorf("when it is over %d states are looked at", marshals)
	}
}
