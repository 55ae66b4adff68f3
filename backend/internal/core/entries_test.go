package core

import (
	"errors"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

var errEntries = errors.New("it fails")

// idsOf are ids that differ in their first byte.
func idsOf(names ...byte) (ids []reconcile.ID) {
	for _, n := range names {
		ids = append(ids, reconcile.ID{n})
	}
	return ids
}

// walks returns a node that walks through what b has of s, with its first step.
func walks(t *testing.T, reason string, here, there []reconcile.ID) (p *pair, step *Walk, other *reconcile.View) {
	t.Helper()
	p = newPair(t, Transport{Unicast: true}, "s")
	other = reconcile.NewView(there, 7)
	p.sent = nil
	p.asked.start(p.Core, p.roster.get("b"), p.keys, reason)
	p.step(Tick{})
	p.digests(uint64(len(here)) + 1)
	pull := take[*Pull](p)[0]
	p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, End: true, Items: []AnswerItem{{
		Key: "s", Outcome: Apart, Worth: Whole, HasDigest: true, Digest: 2, Salt: 7, Sketch: other.Sketch(uint64(len(here))),
		Numbers: []Numbers{{"b", 0, Ranges{{1, 3}}}},
	}}})
	m := take[Marshal](p)
	if len(m) != 1 {
		t.Fatalf("%d views are asked for", len(m))
	}
	p.step(Marshalled{Job: m[0].Job, Digest: 1, HasDigest: true, View: reconcile.NewView(here, 7)})
	steps := take[*Walk](p)
	if len(steps) != 1 {
		return p, nil, other
	}
	return p, steps[0], other
}

// digests answers who asks for the digests of states with so many entries, and one more.
func (p *pair) digests(entries uint64) {
	sent := p.sent
	marshals := take[Marshal](p)
	p.sent = sent
	for _, m := range marshals {
		p.Begin(m.Job)
		p.step(Marshalled{Job: m.Job, Digest: 1, HasDigest: true, Entries: entries})
	}
}

// walked answers a step, with so many entries.
func (p *pair) walked(step *Walk, other *reconcile.View, entries ...[]byte) {
	p.t.Helper()
	found, err := other.Find(&step.Ask)
	if err != nil {
		p.t.Fatal(err)
	}
	p.hears("b", &Walked{For: Asker{"a", step.ID}, Key: "s", Step: step.Step, Outcome: Apart, Reply: found.Reply, Entries: entries})
}

// isWalking reports whether the walk goes on.
func (p *pair) isWalking() bool { return len(p.asked.walks) == 1 }

// What of the bytes of a step was refused, and what was of use, is as the entries are.
func TestWhatAWalkWasWorth(t *testing.T) {
	w := &walk{}
	w.mergedOf([][]byte{make([]byte, 10), make([]byte, 10), make([]byte, 10)}, 1)
	if w.spurned != 10 || w.useful != 20 {
		t.Errorf("%d bytes are refused, %d of use", w.spurned, w.useful)
	}
	w = &walk{useful: 5, spurned: spurnedMost + 10}
	if w.isUseless() {
		t.Error("twice what was merged may be refused")
	}
	if w.spurned++; !w.isUseless() {
		t.Error("more than that is moved")
	}
}

// A walk that moved nothing but what is refused is remembered, and forgotten after one
// that was of use.
func TestWhatIsRememberedOfAWalk(t *testing.T) {
	for what, c := range map[string]struct {
		spurned, useful     int
		refusing, remembers bool
	}{
		"nothing was moved":     {0, 0, true, true},
		"all was merged":        {0, 5, false, false},
		"as much was refused":   {5, 5, true, false},
		"all was refused":       {5, 0, true, true},
		"more was of use":       {1, 5, true, false},
		"less was of use":       {5, 1, true, false},
		"one byte was of use":   {0, 1, false, false},
		"one byte was refused ": {1, 0, true, true},
	} {
		p := newPair(t, Transport{Unicast: true}, "s")
		b, st := p.roster.get("b"), p.states["s"]
		b.spurned, st.refusing = map[string]spurned{"s": {times: 1}}, true
		w := &walk{pull: &pull{node: b}, key: &pullKey{state: st}, spurned: c.spurned, useful: c.useful}
		w.remember(p.Core)
		if _, remembers := b.spurned["s"]; st.refusing != c.refusing || remembers != c.remembers {
			t.Errorf("%s: refusing %v, remembered %v", what, st.refusing, remembers)
		}
	}
	p := newPair(t, Transport{Unicast: true}, "s")
	b, st := p.roster.get("b"), p.states["s"]
	b.spurned = map[string]spurned{"s": {1, p.now + time.Second}}
	pl, k := &pull{node: b, reason: "periodic"}, &pullKey{state: st}
	if _, is := p.isSpurned(pl, k); !is {
		t.Error("it is moved again at once")
	}
	p.after(time.Second)
	if _, is := p.isSpurned(pl, k); is {
		t.Error("it is not moved when its time has come")
	}
}

// One member walks through each state once, and so many do at a time.
func TestGuests(t *testing.T) {
	p := newPair(t, Transport{Unicast: true}, "s", "t")
	p.joins("c")
	a := &p.answered
	admit := func(who string, key string) bool {
		return a.admit(p.Core, Asker{who, 1}, p.states[key], Marshalled{View: reconcile.NewView(nil, 1)})
	}
	for i, c := range []struct {
		who, key string
		want     int
	}{{"b", "s", 1}, {"b", "t", 2}, {"c", "s", 3}, {"b", "s", 3}} {
		if !admit(c.who, c.key) || len(a.guests) != c.want {
			t.Errorf("%d: %d guests, want %d", i, len(a.guests), c.want)
		}
	}
	for len(a.guests) < maxGuests-1 {
		a.guests = append(a.guests, &guest{state: p.states["s"], until: Never, at: Never})
	}
	if !admit("c", "t") {
		t.Error("there is room for one more")
	}
	if p.joins("d"); admit("d", "s") {
		t.Error("there is room for any number")
	}
}

// guest lets b walk through a state with these ids.
func guestOf(t *testing.T, ids []reconcile.ID) *pair {
	t.Helper()
	p := newPair(t, Transport{Unicast: true}, "s")
	p.answered.admit(p.Core, Asker{"b", 1}, p.states["s"], Marshalled{View: reconcile.NewView(ids, 7), Digest: 1})
	p.sent = nil
	return p
}

// allOf asks for all entries.
var allOf = reconcile.Request{Lists: []reconcile.List{{Range: reconcile.Range{First: 0, Last: 1<<64 - 1}}}}

// What is looked at for a step is paid for, and a step waits for the budget.
func TestAStepIsPaidFor(t *testing.T) {
	p := guestOf(t, idsOf(1, 2, 3))
	level := p.answered.bytes.level
	split := reconcile.Request{Splits: []reconcile.Range{{First: 0, Last: 1<<64 - 1}}}
	found, err := p.answered.guests[0].view.Find(&split)
	if err != nil || len(found.Prints) == 0 {
		t.Fatal(found, err)
	}
	p.hears("b", &Walk{To: "a", ID: 1, Key: "s", Step: 1, Ask: split})
	if got, want := level-p.answered.bytes.level, float64(8*(found.Looked+len(found.Prints))); got != want {
		t.Errorf("%v bytes are paid, want %v", got, want)
	}
	p.sent = nil
	p.answered.bytes.spend(p.now, int(p.answered.bytes.level)+bytesPerSecond)
	p.hears("b", &Walk{To: "a", ID: 1, Key: "s", Step: 2, Ask: split})
	if len(take[*Walked](p)) != 0 {
		t.Error("a step is answered beyond the budget")
	}
	wait := p.answered.bytes.next(p.now) - p.now
	p.after(wait)
	if n := len(take[*Walked](p)); n != 1 {
		t.Errorf("%d answers when there is a budget again, after %v", n, wait)
	}
}

// What cannot be fetched is told as that, and nothing is told to a guest who is gone.
func TestWhatAGuestIsTold(t *testing.T) {
	for what, c := range map[string]struct {
		fetched Fetched
		late    bool
		want    Outcome
		told    int
	}{
		"an entry":           {Fetched{Entries: [][]byte{{1}}, Taken: 1}, false, Apart, 1},
		"an error":           {Fetched{Entries: [][]byte{{1}}, Taken: 1, Err: errEntries}, false, Later, 1},
		"nothing":            {Fetched{}, false, Later, 1},
		"an entry, too late": {Fetched{Entries: [][]byte{{1}}, Taken: 1}, true, 0, 0},
	} {
		p := guestOf(t, idsOf(1))
		p.hears("b", &Walk{To: "a", ID: 1, Key: "s", Step: 1, Ask: allOf})
		fetches := take[Fetch](p)
		if len(fetches) != 1 {
			t.Fatalf("%s: %d fetches", what, len(fetches))
		}
		if c.late {
			p.after(guestFor)
			p.sent = nil
		}
		c.fetched.Job = fetches[0].Job
		p.step(c.fetched)
		told := take[*Walked](p)
		if len(told) != c.told || c.told > 0 && told[0].Outcome != c.want {
			t.Errorf("%s: %v", what, told)
		}
	}
}

// Entries that are given and whose digest is not known are no news; of a state that was
// removed meanwhile nothing is told.
func TestWhatAGuestGives(t *testing.T) {
	gives := &Walk{To: "a", ID: 1, Key: "s", Step: 1, Entries: [][]byte{{9}}}
	p := guestOf(t, idsOf(1))
	p.hears("b", gives)
	p.step(Merged{Job: take[Merge](p)[0].Job})
	if st := p.states["s"]; st.digested && st.digestOf == st.version {
		t.Error("a digest is known that nobody told")
	}
	p = guestOf(t, idsOf(1))
	p.hears("b", gives)
	job := take[Merge](p)[0].Job
	p.step(StateRemoved{"s"})
	p.sent = nil
	p.step(Merged{Job: job, Refused: 1, Err: errEntries})
	if n := notes(p, NoteRefused); n != 0 {
		t.Error("a state that is gone refuses something")
	}
}

// A view that cannot be had ends the walk, and so do entries that cannot be fetched.
func TestAWalkWithoutAView(t *testing.T) {
	view := reconcile.NewView(nil, 7)
	for what, m := range map[string]Marshalled{"an error": {View: view, Err: errEntries}, "no view": {}} {
		p, _, _ := walks(t, "periodic", nil, idsOf(1))
		w := p.asked.walks[0]
		p.asked.viewed(p.Core, w, m)
		if p.isWalking() {
			t.Errorf("%s: it goes on", what)
		}
	}
	for what, f := range map[string]Fetched{"an error": {Entries: [][]byte{{1}}, Taken: 1, Err: errEntries}, "nothing": {}} {
		p, step, other := walks(t, "periodic", idsOf(1), idsOf(2))
		p.sent = nil
		p.walked(step, other, []byte{2})
		p.step(Merged{Job: take[Merge](p)[0].Job})
		fetches := take[Fetch](p)
		if len(fetches) != 1 {
			t.Fatalf("%s: %d fetches", what, len(fetches))
		}
		f.Job = fetches[0].Job
		p.step(f)
		if p.isWalking() {
			t.Errorf("%s: it goes on", what)
		}
	}
}

// Walks share the room of a step, within its bounds.
func TestRoomOfSteps(t *testing.T) {
	for n, want := range map[int]int{0: roomMost, 4: roomMost, 8: roomOfAll / 8, 1 << 20: roomLeast} {
		a := &asked{walks: make([]*walk, n)}
		if got := a.room(); got != want {
			t.Errorf("of %d walks each has %d bytes, want %d", n, got, want)
		}
	}
}

// A walk has so many steps, and more as it moves more.
func TestAWalkHasAnEnd(t *testing.T) {
	for _, c := range []struct {
		step  uint64
		bytes int
		ends  bool
	}{{maxSteps - 1, 0, false}, {maxSteps, 0, true}, {maxSteps, roomLeast, false}, {maxSteps + 1, roomLeast, true}} {
		p, _, _ := walks(t, "periodic", nil, idsOf(1))
		w := p.asked.walks[0]
		w.step, w.bytes = c.step, c.bytes
		p.asked.sendStep(p.Core, w, [][]byte{{1}})
		if p.isWalking() == c.ends {
			t.Errorf("after %d steps and %d bytes: it goes on: %v", c.step, c.bytes, !c.ends)
		}
	}
}

// A step is said three times, a patience apart, unless something of the answer arrives.
func TestAStepIsSaidAgain(t *testing.T) {
	p, _, _ := walks(t, "periodic", nil, idsOf(1))
	for said := 2; said <= stepTries; said++ {
		p.after(stepPatience - time.Millisecond)
		if n := len(take[*Walk](p)); n != 0 {
			t.Errorf("it is said for the %d. time too early", said)
		}
		p.after(time.Millisecond)
		if n := len(take[*Walk](p)); n != 1 {
			t.Errorf("%d are said for the %d. time", n, said)
		}
	}
	p.after(stepPatience)
	if len(take[*Walk](p)) != 0 || p.isWalking() {
		t.Error("it is said once more")
	}

	p, _, _ = walks(t, "periodic", nil, idsOf(1))
	for range int(piecesFor/stepPatience)*2 - 2 { // pieces of something
		p.after(stepPatience / 2)
		p.step(Progress{"c"})
		p.step(Progress{"b"})
	}
	if len(take[*Walk](p)) != 0 {
		t.Error("it is said again though its answer arrives")
	}
	w := p.asked.walks[0]
	p.after(w.limit - p.now)
	for p.isWalking() && p.now < w.limit+stepPatience {
		p.step(Progress{"b"})
		p.after(stepPatience / 4)
	}
	if p.isWalking() {
		t.Error("pieces keep it for ever")
	}
	p, _, _ = walks(t, "periodic", nil, idsOf(1))
	p.after(stepPatience / 2)
	p.step(Progress{"c"})
	p.after(stepPatience / 2)
	if len(take[*Walk](p)) != 1 {
		t.Error("what another one sends keeps it waiting")
	}
}

// What was gone counts as one that the answer brought, and then no number is taken over.
func TestAStepWhoseEntryIsGone(t *testing.T) {
	p, step, other := walks(t, "periodic", nil, idsOf(1))
	found, _ := other.Find(&step.Ask)
	p.hears("b", &Walked{For: Asker{"a", step.ID}, Key: "s", Step: step.Step, Outcome: Apart, Reply: found.Reply, Gone: true})
	if n := notes(p, NoteRejected); n != 0 {
		t.Error("it is taken for a lie")
	}
	if p.isWalking() || len(p.roster.get("b").streams) != 0 {
		t.Error("numbers are taken over")
	}
}

// Entries that found no room, or whose state is gone, end the walk and change nothing;
// of those that are refused the others count.
func TestEntriesThatAreNotMerged(t *testing.T) {
	for what, c := range map[string]struct {
		merged  Merged
		removed bool
	}{"no room": {Merged{Full: true}, false}, "the state is gone": {Merged{}, true}} {
		p, step, other := walks(t, "periodic", nil, idsOf(1, 2))
		st := p.states["s"]
		p.walked(step, other, []byte{1}, []byte{2})
		w := p.asked.walks[0]
		c.merged.Job = take[Merge](p)[0].Job
		if c.removed {
			p.step(StateRemoved{"s"})
		}
		before := st.version
		p.step(c.merged)
		if p.isWalking() || w.merged != 0 || st.version != before {
			t.Errorf("%s: it goes on: %v, %d are merged", what, p.isWalking(), w.merged)
		}
	}
	p, step, other := walks(t, "periodic", nil, idsOf(1, 2, 3))
	p.walked(step, other, []byte{1}, []byte{2}, []byte{3})
	w := p.asked.walks[0]
	p.step(Merged{Job: take[Merge](p)[0].Job, Refused: 1, Err: errEntries})
	if w.merged != 2 || w.refused != 1 {
		t.Errorf("%d are merged, %d refused", w.merged, w.refused)
	}
}

// At its end a walk takes numbers over unless something was refused, and what it won is
// told on where the state has become another than it was.
func TestTheEndOfAWalk(t *testing.T) {
	for what, c := range map[string]struct {
		reason   string
		refused  int
		digest   Marshalled
		numbers  bool
		spreads  bool
		digested bool
	}{
		"it won something":          {"periodic", 0, Marshalled{Digest: 5, HasDigest: true}, true, true, true},
		"when two parts met":        {"joined", 0, Marshalled{Digest: 5, HasDigest: true}, true, true, true},
		"for another reason":        {"reattach", 0, Marshalled{Digest: 5, HasDigest: true}, true, false, true},
		"it is as it was":           {"periodic", 0, Marshalled{Digest: 1, HasDigest: true}, true, false, true},
		"its digest is not known":   {"periodic", 0, Marshalled{Digest: 5}, true, false, false},
		"its digest cannot be told": {"periodic", 0, Marshalled{Digest: 5, HasDigest: true, Err: errEntries}, true, false, false},
		"something was refused":     {"periodic", 1, Marshalled{Digest: 5, HasDigest: true}, false, true, true},
	} {
		p, step, other := walks(t, c.reason, nil, idsOf(1, 2))
		st := p.states["s"]
		p.asked.walks[0].pull.key("s").all = true
		p.walked(step, other, []byte{1}, []byte{2})
		m := Merged{Job: take[Merge](p)[0].Job, Refused: c.refused}
		if c.refused > 0 {
			m.Err = errEntries
		}
		p.step(m)
		marshals := take[Marshal](p)
		if len(marshals) != 1 {
			t.Fatalf("%s: %d digests are asked for", what, len(marshals))
		}
		c.digest.Job = marshals[0].Job
		began := p.asked.lastID
		p.step(c.digest)
		if p.isWalking() {
			t.Fatalf("%s: it goes on", what)
		}
		s := p.roster.get("b").streams["s"]
		if numbers := s != nil && len(s.accounted) > 0; numbers != c.numbers {
			t.Errorf("%s: numbers are taken over: %v", what, numbers)
		}
		if digested := st.digested && st.digestOf == st.version; digested != c.digested {
			t.Errorf("%s: the digest is known: %v", what, digested)
		}
		if spreads := p.asked.lastID > began; spreads != c.spreads {
			t.Errorf("%s: it is told on: %v", what, spreads)
		}
	}
}

// A walk that brings little but what is refused is left; the reason is said by who
// refuses.
func TestAWalkThatIsLeft(t *testing.T) {
	for _, refuses := range []bool{true, false} {
		p, step, other := walks(t, "periodic", nil, idsOf(1, 2))
		p.walked(step, other, []byte{1}, []byte{2})
		w := p.asked.walks[0]
		w.spurned = spurnedMost
		job := take[Merge](p)[0].Job
		if refuses {
			p.step(Merged{Job: job, Refused: 2, Err: errEntries})
		} else {
			w.spurned += 100
			p.step(Merged{Job: job})
		}
		if said := notes(p, NoteRefused) > 0; p.isWalking() || said != refuses {
			t.Errorf("this one refuses: %v; said: %v, it goes on: %v", refuses, said, p.isWalking())
		}
	}
}
