package core

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// pair is a core that is ready and knows the ready member b, and what it sends.
type pair struct {
	*Core
	t    *testing.T
	now  time.Duration
	sent []Effect
}

func newPair(t *testing.T, transport Transport, keys ...string) *pair {
	p := &pair{t: t, now: time.Second, Core: New(Config{
		Self: Member{Name: "a", Instance: "a"}, Heartbeat: 500 * time.Millisecond, Grace: 10 * time.Second, Settle: 10 * time.Second,
		Sync: time.Hour, Seed: 1,
	}, time.Second)}
	for _, key := range keys {
		p.step(StateAdded{Key: key})
	}
	p.step(LinkUp{transport})
	p.step(Received{From: "a", Message: &Heartbeat{Count: 1}})
	p.after(time.Second) // alone
	p.joins("b")
	return p
}

// joins lets a ready member appear, which nothing is compared with.
func (p *pair) joins(name string) {
	p.hears(name, &Heartbeat{Member: Member{Name: name}, Count: 1, Interval: time.Minute, Worth: Whole})
	p.joined, p.joinedAt = nil, Never
}

func (p *pair) step(e Event) {
	p.Step(p.now, e)
	p.sent = append(p.sent, p.Effects()...)
}

// hears hands the node a message of one that hears what is for it alone.
func (p *pair) hears(from string, m Message) {
	if h, ok := m.(*Heartbeat); ok {
		h.Alone = true
	}
	p.step(Received{From: from, Message: m})
}

// after lets time pass; the node hears its own heartbeats.
func (p *pair) after(d time.Duration) {
	for end, steps := p.now+d, 0; p.now < end; steps++ {
		if steps > 100_000 {
			p.t.Fatalf("at %v it does not come to rest", p.now)
		}
		p.now = min(max(p.Next(), p.now), end)
		p.step(Tick{})
		for _, e := range p.sent {
			if s, ok := e.(Send); ok {
				if h, ok := s.Message.(*Heartbeat); ok {
					p.Step(p.now, Received{From: "a", Message: h})
				}
			}
		}
		p.sent = append(p.sent, p.Effects()...)
	}
}

// take returns the effects of one type since the last take, and forgets all.
func take[T any](p *pair) (all []T) {
	for _, e := range p.sent {
		if t, ok := e.(T); ok {
			all = append(all, t)
		}
		if s, ok := e.(Send); ok {
			if t, ok := any(s.Message).(T); ok {
				all = append(all, t)
			}
		}
	}
	p.sent = nil
	return all
}

func notes(p *pair, kind NoteKind) (n int) {
	for _, e := range p.sent {
		if note, ok := e.(Note); ok && note.Kind == kind {
			n++
		}
	}
	return n
}

// pull has a compare with b, and returns the pull.
func (p *pair) pull() *Pull {
	p.t.Helper()
	p.sent = nil
	p.asked.start(p.Core, p.roster.get("b"), p.free(func(*state) bool { return true }), "periodic")
	p.step(Tick{})
	for _, m := range take[Marshal](p) {
		p.Begin(m.Job)
		p.step(Marshalled{Job: m.Job, Digest: 1, HasDigest: true})
	}
	pulls := take[*Pull](p)
	if len(pulls) != 1 {
		p.t.Fatalf("%d pulls", len(pulls))
	}
	return pulls[0]
}

func TestAnAnswerThatDiffers(t *testing.T) {
	for _, unicast := range []bool{false, true} {
		p := newPair(t, Transport{Unicast: unicast}, "s")
		pull := p.pull()
		p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, End: true, Sent: []string{"s"}, Items: []AnswerItem{
			{Key: "s", Outcome: Data, Worth: Whole, HasDigest: true, Digest: 2, Data: []byte("x")},
		}})
		merges := take[Merge](p)
		if len(merges) != 1 || string(merges[0].Data) != "x" {
			t.Fatalf("%v", merges)
		}
		p.step(Merged{Job: merges[0].Job, HasDigest: true, Digest: 3})
		marshals := take[Marshal](p)
		if len(marshals) != 1 || marshals[0].OnlyDigest {
			t.Fatalf("still different after the merge: %v, want a push", marshals)
		}
		p.step(Marshalled{Job: marshals[0].Job, HasDigest: true, Digest: 3, Data: []byte("xy")})
		pushes := take[*Push](p)
		want := map[bool]string{false: "", true: "b"}[unicast]
		if len(pushes) != 1 || pushes[0].To != want || string(pushes[0].Data) != "xy" {
			t.Errorf("unicast %v: %+v", unicast, pushes)
		}
	}
}

func TestWhatExplainsADifference(t *testing.T) {
	for what, between := range map[string]func(p *pair){
		"an own update meanwhile": func(p *pair) { p.Assign("s", []byte("new")) },
		"another's update meanwhile": func(p *pair) {
			_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, 1)
			p.Queued(p.now, r, true)
			p.UpdateMerged(p.now, r, nil)
		},
		"an update that is missing": func(p *pair) {
			_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, 5)
			p.Queued(p.now, r, true)
		},
	} {
		p := newPair(t, Transport{}, "s")
		pull := p.pull()
		between(p)
		p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, End: true, Sent: []string{"s"}, Items: []AnswerItem{
			{Key: "s", Outcome: Data, HasDigest: true, Digest: 2, Data: []byte("x")},
		}})
		p.step(Merged{Job: take[Merge](p)[0].Job, HasDigest: true, Digest: 3})
		for _, m := range take[Marshal](p) {
			if !m.OnlyDigest {
				t.Errorf("%s: the state is pushed", what)
			}
		}
	}
}

// What was missed of somebody who never was a member is not searched, and so explains
// no difference.
func TestStrangersExplainNothing(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	_, r, _ := p.Receive(p.now, []byte("stranger"), []byte("s"), 0, 5)
	p.Queued(p.now, r, true)
	p.UpdateMerged(p.now, r, nil)
	pull := p.pull()
	p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, End: true, Sent: []string{"s"}, Items: []AnswerItem{
		{Key: "s", Outcome: Data, Worth: Whole, HasDigest: true, Digest: 2, Data: []byte("x")},
	}})
	p.step(Merged{Job: take[Merge](p)[0].Job, HasDigest: true, Digest: 3})
	if m := take[Marshal](p); len(m) != 1 || m[0].OnlyDigest {
		t.Errorf("b is not given what it lacks: %v", m)
	}
}

// What was missing may have explained a difference, or not: when it has come, the state
// is compared again.
func TestADifferenceInDoubt(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	merge := func(number uint64) {
		_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, number)
		p.Queued(p.now, r, true)
		p.UpdateMerged(p.now, r, nil)
	}
	merge(2)
	pull := p.pull()
	p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, End: true, Sent: []string{"s"}, Items: []AnswerItem{
		{Key: "s", Outcome: Data, Worth: Whole, HasDigest: true, Digest: 2, Data: []byte("x")},
	}})
	p.step(Merged{Job: take[Merge](p)[0].Job, HasDigest: true, Digest: 1})
	if pull := p.next(firstPause); pull.To != "" {
		t.Error("it is compared again while something is missing")
	}
	merge(1)
	if pull := p.next(2 * firstPause); pull.To != "b" {
		t.Error("it is not compared again")
	}
}

// Who lacked a state and asks for it has it.
func TestWhoAsksForAState(t *testing.T) {
	p := newPair(t, Transport{Unicast: true}, "s")
	b := p.roster.get("b")
	b.lacks = map[string]bool{"s": true}
	p.hears("b", &Pull{To: "a", ID: 1, Items: []PullItem{{Key: "s"}}})
	if b.lacks["s"] {
		t.Error("it is held to lack it")
	}
}

// Who answers that it lacks a state, and tells before or after that of other keys than
// it had, or of keys with the state, may have it.
func TestLackingAndKeys(t *testing.T) {
	for _, c := range []struct {
		what string
		keys func(with, without uint64) uint64 // that b and c tell of, between the pull and the answer
		want Readiness
	}{
		{"those with it", func(with, _ uint64) uint64 { return with }, Settling},
		{"others", func(_, without uint64) uint64 { return without + 1 }, Settling},
		{"those that they had", func(_, without uint64) uint64 { return without }, Synced},
	} {
		p := newPair(t, Transport{Unicast: true}, "s")
		without, beat := p.keySet, uint64(1)
		tell := func(keys uint64) {
			beat++
			for _, name := range []string{"b", "c"} {
				p.hears(name, &Heartbeat{Member: Member{Name: name}, Count: beat, Interval: time.Minute, Worth: Whole, KeySet: keys})
			}
		}
		p.joins("c")
		tell(without)
		p.hello = 0 // it was told who is there
		p.sent = nil
		p.step(StateAdded{Key: "t"})
		for asked := range 2 {
			for _, m := range take[Marshal](p) {
				p.step(Marshalled{Job: m.Job, Digest: 1, HasDigest: true})
			}
			pulls := take[*Pull](p)
			if len(pulls) != 1 {
				t.Fatalf("%s: %d pulls after %d answers", c.what, len(pulls), asked)
			}
			if asked == 0 {
				tell(c.keys(p.keySet, without))
			}
			p.hears(pulls[0].To, &Answer{For: []Asker{{"a", pulls[0].ID}}, End: true, Items: []AnswerItem{{Key: "t", Outcome: Lacking}}})
		}
		if st := p.states["t"]; st.ready != c.want {
			t.Errorf("%s: it is %v, want %v", c.what, st.ready, c.want)
		}
	}
}

func TestNewsSpread(t *testing.T) {
	p := newPair(t, Transport{Unicast: true}, "s")
	p.joins("c")
	pull := p.pull()
	p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, End: true, Sent: []string{"s"}, Items: []AnswerItem{
		{Key: "s", Outcome: Data, HasDigest: true, Digest: 2, Data: []byte("x")},
	}})
	p.step(Merged{Job: take[Merge](p)[0].Job, HasDigest: true, Digest: 2})
	p.step(Tick{})
	if len(p.asked.pulls) != 1 || p.asked.pulls[0].node.Name != "c" && p.asked.pulls[0].node.Name != "b" {
		t.Errorf("news of b are not compared with the next: %v", p.asked.pulls)
	}
}

func TestAPush(t *testing.T) {
	p := newPair(t, Transport{Unicast: true}, "s")
	p.hears("stranger", &Push{To: "a", Key: "s", Data: []byte("x")})
	p.hears("b", &Push{To: "c", Key: "s", Data: []byte("x")})
	p.hears("b", &Push{To: "a", Key: "other", Data: []byte("x")})
	if m := take[Merge](p); len(m) > 0 {
		t.Fatalf("merged: %v", m)
	}
	p.hears("b", &Push{To: "a", Key: "s", Data: []byte("x")})
	m := take[Merge](p)
	if len(m) != 1 {
		t.Fatal("not merged")
	}
	p.step(Merged{Job: m[0].Job, Err: errors.New("no")})
	if n := notes(p, NoteRefused); n != 1 {
		t.Errorf("%d refused", n)
	}
	for range 1000 {
		p.hears("b", &Push{To: "a", Key: "s", Data: []byte("x")})
	}
	if n := len(take[Merge](p)); n > answersBurst {
		t.Errorf("%d pushes are merged at once", n)
	}
}

// A state that cannot be marshalled, or is gone by then, is not pushed.
func TestAPushThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		what   string
		result Marshalled
		remove bool
		want   int
	}{
		{"sound", Marshalled{Data: []byte("x")}, false, 1},
		{"it fails", Marshalled{Err: errors.New("no"), Data: []byte("x")}, false, 0},
		{"it is gone", Marshalled{Data: []byte("x")}, true, 0},
		{"without data", Marshalled{}, false, 0},
	} {
		p := newPair(t, Transport{}, "s")
		p.sent = nil
		p.push(p.states["s"], p.roster.get("b"))
		p.step(Tick{})
		c.result.Job = take[Marshal](p)[0].Job
		if c.remove {
			p.step(StateRemoved{Key: "s"})
		}
		p.step(c.result)
		if n := len(take[*Push](p)); n != c.want {
			t.Errorf("%s: %d pushes", c.what, n)
		}
	}
}

// What a push to this node alone has brought is news for the others; what all were given,
// or what changed nothing, is not.
func TestNewsOfAPush(t *testing.T) {
	for _, c := range []struct {
		what    string
		to      string
		between func(p *pair)
		result  Merged
		want    bool
	}{
		{"it changed the state", "a", func(*pair) {}, Merged{Digest: 2, HasDigest: true}, true},
		{"it changed nothing", "a", func(*pair) {}, Merged{Digest: 1, HasDigest: true}, false},
		{"all were given it", "", func(*pair) {}, Merged{Digest: 2, HasDigest: true}, false},
		{"the state has no digest", "a", func(*pair) {}, Merged{Digest: 2}, false},
		{"something else changed it", "a", func(p *pair) { p.Assign("s", []byte("new")) }, Merged{Digest: 2, HasDigest: true}, false},
		{"it was refused", "a", func(*pair) {}, Merged{Digest: 2, HasDigest: true, Err: errors.New("no")}, false},
		{"there was no room", "a", func(*pair) {}, Merged{Digest: 2, HasDigest: true, Full: true}, false},
		{"the state is gone", "a", func(p *pair) { p.step(StateRemoved{Key: "s"}) }, Merged{Digest: 2, HasDigest: true}, false},
	} {
		p := newPair(t, Transport{Unicast: true}, "s")
		p.pull() // so that the digest is known: 1
		p.asked.abandon(p.Core)
		p.sent = nil
		st := p.states["s"]
		p.hears("b", &Push{To: c.to, Key: "s", Data: []byte("x")})
		c.result.Job = take[Merge](p)[0].Job
		version := st.version
		c.between(p)
		between := st.version
		p.step(c.result)
		news := st.news || st.pull != nil && st.pull.reason == "periodic"
		if news != c.want {
			t.Errorf("%s: it is news is %v", c.what, news)
		}
		merged := c.result.Err == nil && !c.result.Full && !st.gone
		if st.version > between != merged || version > between {
			t.Errorf("%s: the version goes from %d to %d", c.what, between, st.version)
		}
	}
}

func TestPatienceWithAnAnswer(t *testing.T) {
	t.Run("silence", func(t *testing.T) {
		p := newPair(t, Transport{}, "s")
		p.pull()
		p.after(answerPatience - time.Millisecond)
		if len(p.asked.pulls) != 1 {
			t.Fatal("given up too early")
		}
		p.after(2 * time.Millisecond)
		if len(p.asked.pulls) != 0 || p.states["s"].pull != nil {
			t.Error("not given up")
		}
	})
	t.Run("pieces", func(t *testing.T) {
		p := newPair(t, Transport{}, "s")
		p.pull()
		for range 10 {
			p.after(answerPatience / 2)
			p.step(Progress{"b"})
		}
		if len(p.asked.pulls) != 1 {
			t.Error("given up though pieces arrive")
		}
	})
	t.Run("pieces of something else", func(t *testing.T) {
		p := newPair(t, Transport{}, "s")
		pull := p.pull()
		for range 2 * int(piecesFor/answerPatience) {
			p.after(answerPatience / 2)
			p.step(Progress{"b"})
		}
		if len(p.asked.pulls) != 0 || p.states["s"].pull != nil {
			t.Fatal("nobody else is asked for as long as pieces arrive")
		}
		p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, Items: []AnswerItem{{Key: "s", Outcome: Data, Data: []byte("x")}}})
		if m := take[Merge](p); len(m) != 1 {
			t.Error("the answer came after all, and is not merged")
		}
	})
	t.Run("the end overtakes the data", func(t *testing.T) {
		p := newPair(t, Transport{}, "s")
		pull := p.pull()
		p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, End: true, Sent: []string{"s"}})
		p.after(piecesPatience / 2)
		p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, Items: []AnswerItem{{Key: "s", Outcome: Data, Data: []byte("x")}}})
		if m := take[Merge](p); len(m) != 1 {
			t.Error("the data is not merged")
		}
	})
	t.Run("the data is lost", func(t *testing.T) {
		p := newPair(t, Transport{}, "s")
		pull := p.pull()
		p.hears("b", &Answer{For: []Asker{{"a", pull.ID}}, End: true, Sent: []string{"s"}})
		p.after(piecesPatience + time.Millisecond)
		if len(p.asked.pulls) != 0 {
			t.Error("waited for longer than for what was overtaken")
		}
	})
	t.Run("it cannot be sent", func(t *testing.T) {
		p := newPair(t, Transport{Unicast: true}, "s")
		p.pull()
		p.step(Unsent{"b"})
		if len(p.asked.pulls) != 0 {
			t.Error("waited for an answer to what was not sent")
		}
	})
	t.Run("not asked for", func(t *testing.T) {
		p := newPair(t, Transport{}, "s")
		pull := p.pull()
		for _, m := range []*Answer{
			{For: []Asker{{"a", pull.ID + 1}}, Items: []AnswerItem{{Key: "s", Outcome: Data}}},
			{For: []Asker{{"c", pull.ID}}, Items: []AnswerItem{{Key: "s", Outcome: Data}}},
			{For: []Asker{{"a", pull.ID}}, Items: []AnswerItem{{Key: "other", Outcome: Data}}},
		} {
			p.hears("b", m)
		}
		p.hears("c", &Answer{For: []Asker{{"a", pull.ID}}, Items: []AnswerItem{{Key: "s", Outcome: Data}}})
		if m := take[Merge](p); len(m) != 0 {
			t.Errorf("merged: %v", m)
		}
	})
}

func TestOwnStateThatIsBusy(t *testing.T) {
	p := newPair(t, Transport{}, "s", "t")
	p.sent = nil
	p.asked.start(p.Core, p.roster.get("b"), p.free(func(*state) bool { return true }), "periodic")
	p.step(Tick{})
	for _, m := range take[Marshal](p) {
		if m.Key == "t" {
			p.step(Marshalled{Job: m.Job, Digest: 1, HasDigest: true})
		}
	}
	p.after(digestPatience + time.Millisecond)
	pulls := take[*Pull](p)
	if len(pulls) != 1 || len(pulls[0].Items) != 1 || pulls[0].Items[0].Key != "t" {
		t.Errorf("%+v, want t alone", pulls)
	}
	if p.states["s"].isFree() {
		t.Error("s is asked for its digest once more while that is to come")
	}
}

// answer has b pull from a, and returns what a sends until its states have
// answered.
func (p *pair) answer(pull *Pull, result func(Marshal) Marshalled) []*Answer {
	p.sent = nil
	p.hears("b", pull)
	p.after(2 * shareWindow)
	sent := p.sent
	marshals := take[Marshal](p)
	p.sent = sent
	for _, m := range marshals {
		p.Begin(m.Job)
		r := result(m)
		r.Job = m.Job
		p.step(r)
	}
	p.after(10 * time.Millisecond)
	return take[*Answer](p)
}

func TestAnswers(t *testing.T) {
	type item = PullItem
	for _, c := range []struct {
		what   string
		pull   Pull
		result Marshalled
		want   string
	}{
		{"equal", Pull{Items: []item{{Key: "s", HasDigest: true, Digest: 7}}}, Marshalled{Digest: 7, HasDigest: true}, "answer to b.9 s equal whole end"},
		{"different", Pull{Items: []item{{Key: "s", HasDigest: true, Digest: 6}}}, Marshalled{Digest: 7, HasDigest: true, Data: []byte("x")}, "answer to b.9 s data whole(x) end"},
		{"without a digest", Pull{Items: []item{{Key: "s"}}}, Marshalled{Data: []byte("x")}, "answer to b.9 s data whole(x) end"},
		{"lacking", Pull{Items: []item{{Key: "t"}}}, Marshalled{}, "answer to b.9 t lacking end"},
		{"failing", Pull{Items: []item{{Key: "s"}}}, Marshalled{Err: errors.New("no")}, "answer to b.9 s later end"},
		{"twice the same", Pull{Items: []item{{Key: "t"}, {Key: "t"}}}, Marshalled{}, "answer to b.9 t lacking end"},
		{"all by one digest", Pull{HasRoot: true, Root: 1, Keys: 1}, Marshalled{Digest: 7, HasDigest: true}, "answer to b.9 differ end"},
		{"numbers asked about", Pull{Items: []item{{Key: "s", HasDigest: true, Digest: 7, Holes: []Numbers{
			{"b", 0, Ranges{{1, 9}}}, {"a", 0, Ranges{{1, 9}}}, {"x", 0, Ranges{{1, 9}}}, {"b", 1, Ranges{{1, 9}}}, {"b", 0, Ranges{{5, 2}}},
		}}}}, Marshalled{Digest: 7, HasDigest: true}, "answer to b.9 s equal whole b{1-2} a{1-3} end"},
		{"all numbers", Pull{Items: []item{{Key: "s", HasDigest: true, Digest: 7, All: true}}}, Marshalled{Digest: 7, HasDigest: true}, "answer to b.9 s equal whole b{1-2} a{1-3} end"},
	} {
		p := newPair(t, Transport{Unicast: true}, "s")
		for n := uint64(1); n <= 3; n++ {
			if n < 3 { // the third waits in the queue
				_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, n)
				p.Queued(p.now, r, true)
				p.UpdateMerged(p.now, r, nil)
			} else {
				_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, n)
				p.Queued(p.now, r, true)
			}
			_, own := p.Assign("s", []byte("u"))
			p.Sent(p.now, "s", own)
		}
		p.after(time.Second)
		c.pull.To, c.pull.ID = "a", 9
		var got []string
		for _, a := range p.answer(&c.pull, func(Marshal) Marshalled { return c.result }) {
			got = append(got, describe(a))
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

// Strangers that ask and never come cannot fill the place of those that do.
func TestPullsOfStrangers(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	for i := range 10 * maxEarly {
		p.hears(fmt.Sprint("x", i), &Pull{To: "a", ID: 1})
	}
	if n := len(p.answered.early); n != maxEarly {
		t.Errorf("%d are kept", n)
	}
	p.after(answerPatience + time.Millisecond)
	if n := notes(p, NoteRejected); n != 10*maxEarly || len(p.answered.early) != 0 {
		t.Errorf("%d were rejected, and %d are left", n, len(p.answered.early))
	}
}

// What a member asked for before it began to leave is of no use to it any more,
// whoever repeats it, and however far the answer was.
func TestPullsOfWhoLeaves(t *testing.T) {
	for what, asks := range map[string]func(p *pair){
		"its pull comes after its leaving mark": func(p *pair) { p.hears("b", &Pull{To: "a", ID: 1, Items: []PullItem{{Key: "s"}}}) },
		"its pull waits for an answer": func(p *pair) {
			p.answered.waiting = append(p.answered.waiting, request{p.roster.get("b"), &Pull{To: "a", ID: 1, Items: []PullItem{{Key: "s"}}}})
			p.answered.at = p.now
		},
	} {
		p := newPair(t, Transport{}, "s")
		p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Count: 2, Interval: time.Minute, Worth: Whole, Leaving: true})
		take[*Answer](p)
		asks(p)
		p.after(linger)
		if answers := take[Marshal](p); len(answers) != 0 {
			t.Errorf("%s: it is answered", what)
		}
	}
}

// An own update is not claimed before its state had a moment to hold it.
func TestOwnNumbersAreClaimedLater(t *testing.T) {
	p := newPair(t, Transport{Unicast: true}, "s")
	claims := func() string {
		for _, n := range p.numbersFor(p.states["s"], PullItem{All: true}) {
			if n.Origin == "a" {
				return n.Ranges.String()
			}
		}
		return "{}"
	}
	say := func() {
		_, n := p.Assign("s", nil)
		p.Sent(p.now, "s", n)
	}
	for i, want := range []string{"{}", "{}", "{}", "{1}", "{1-2}", "{1-3}", "{1-4}", "{1-5}"} { // one each 100 ms
		say()
		if got := claims(); got != want && !(i < 3) {
			n := len(got)
			if n > len(want) {
				t.Errorf("after %d: %s, want at most %s", i+1, got, want)
			}
		}
		p.after(100 * time.Millisecond)
	}
	p.after(holdDelay)
	if got := claims(); got != "{1-8}" {
		t.Errorf("in the end %s", got)
	}
}

// A large state waits for no small ones, and small ones travel as one frame.
func TestFramesOfAnAnswer(t *testing.T) {
	var keys []string
	var items []PullItem
	for i := range 100 {
		keys = append(keys, fmt.Sprintf("k%02d", i))
		items = append(items, PullItem{Key: keys[i]})
	}
	for _, c := range []struct {
		bytes       int
		least, most int
	}{{10, 1, 2}, {answerBatch / 10, 9, 11}, {2 * answerBatch, 100, 101}} {
		p := newPair(t, Transport{Unicast: true}, keys...)
		answers := p.answer(&Pull{To: "a", ID: 9, Items: items}, func(Marshal) Marshalled { return Marshalled{Data: make([]byte, c.bytes)} })
		states, ends := 0, 0
		for _, a := range answers {
			states += len(a.Items)
			if a.End {
				ends++
				if len(a.Sent) != 100 {
					t.Errorf("the end names %d", len(a.Sent))
				}
			}
		}
		if states != 100 || ends != 1 || len(answers) < c.least || len(answers) > c.most {
			t.Errorf("states of %d bytes: %d in %d frames, %d ends", c.bytes, states, len(answers), ends)
		}
	}
}

func TestBytesAreBudgeted(t *testing.T) {
	p := newPair(t, Transport{Unicast: true}, "s")
	total := 0
	for i := range 200 {
		for _, a := range p.answer(&Pull{To: "a", ID: uint64(i + 1), Items: []PullItem{{Key: "s"}}}, func(Marshal) Marshalled {
			return Marshalled{Data: make([]byte, 8<<20)}
		}) {
			for _, it := range a.Items {
				total += len(it.Data)
			}
		}
	}
	seconds := p.now.Seconds()
	if most := bytesBurst + int(seconds+1)*bytesPerSecond; total > most || total < bytesBurst/2 {
		t.Errorf("%d MiB in %.0f s, want %d at most", total>>20, seconds, most>>20)
	}
}

// A hung state is not marshalled without end.
func TestHungStateIsAskedSeldom(t *testing.T) {
	p := newPair(t, Transport{Unicast: true}, "s")
	marshals := 0
	for i := range 100 {
		p.hears("b", &Pull{To: "a", ID: uint64(i + 1), Items: []PullItem{{Key: "s"}}})
		p.after(time.Second)
		marshals += len(take[Marshal](p))
	}
	if marshals > maxMarshals || len(p.answered.under) > maxMarshals || len(p.jobs) > maxMarshals+1 {
		t.Errorf("%d marshals, %d answers, %d jobs", marshals, len(p.answered.under), len(p.jobs))
	}
}
