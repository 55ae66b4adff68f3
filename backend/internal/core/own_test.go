package core

import (
	"testing"
	"time"
)

// What is said in a node's own name and is not its own raises its incarnation;
// what is its own does not.
func TestLiesInOnesOwnName(t *testing.T) {
	for _, c := range []struct {
		what   string
		do     func(p *pair)
		raised bool
	}{
		{"its heartbeat", func(p *pair) { p.hears("a", &Heartbeat{Count: p.pulse.Count()}) }, false},
		{"an old one", func(p *pair) { p.hears("a", &Heartbeat{Count: 1}) }, false},
		{"one of a former incarnation", func(p *pair) { p.incarnation = 3; p.hears("a", &Heartbeat{Incarnation: 2, Count: 1000}) }, false},
		{"a higher count", func(p *pair) { p.hears("a", &Heartbeat{Count: 1000}) }, true},
		{"a higher incarnation", func(p *pair) { p.hears("a", &Heartbeat{Incarnation: 1, Count: 1}) }, true},
		{"one too high", func(p *pair) { p.hears("a", &Heartbeat{Incarnation: maxRaise + 1, Count: 1}) }, false},
		{"the leaving mark", func(p *pair) { p.hears("a", &Heartbeat{Count: 1, Leaving: true}) }, true},
		{"a number", func(p *pair) { p.hears("a", &Heartbeat{Count: 1, Numbers: []Last{{"s", 9}}}) }, true},
		{"its own number", func(p *pair) { p.Assign("s", nil); p.hears("a", &Heartbeat{Count: 1, Numbers: []Last{{"s", 1}}}) }, false},
		{"a goodbye", func(p *pair) { p.hears("a", &Goodbye{Count: 1}) }, true},
		{"a goodbye while it leaves", func(p *pair) { p.step(Close{}); p.hears("a", &Goodbye{Count: 1}) }, false},
		{"an update", func(p *pair) { p.Receive(p.now, []byte("a"), []byte("s"), 0, 1) }, true},
		{"its own update", func(p *pair) { p.Assign("s", nil); p.Receive(p.now, []byte("a"), []byte("s"), 0, 1) }, false},
		{"an update of a higher incarnation", func(p *pair) { p.Receive(p.now, []byte("a"), []byte("s"), 1, 1) }, true},
		{"a void", func(p *pair) { p.hears("b", &Void{"a", 0}) }, true},
		{"a void of another", func(p *pair) { p.hears("b", &Void{"b", 0}) }, false},
		{"a void of a stranger", func(p *pair) { p.hears("x", &Void{"a", 0}) }, false},
		{"a void that was answered", func(p *pair) { p.incarnation = 3; p.hears("b", &Void{"a", 2}) }, false},
	} {
		p := newPair(t, Transport{}, "s")
		p.do(c.do)
		if got := notes(p, NoteRaised) > 0; got != c.raised {
			t.Errorf("%s: raised is %v", c.what, got)
		}
		if before := p.incarnation; c.raised && before == 0 {
			t.Errorf("%s: the incarnation is %d", c.what, before)
		}
	}
}

func (p *pair) do(f func(p *pair)) {
	p.sent = nil
	f(p)
	p.step(Tick{})
}

// A raise gives what is kept new numbers, and sends it again after a heartbeat
// that tells of it.
func TestRaise(t *testing.T) {
	p := newPair(t, Transport{}, "s", "t")
	for range 3 {
		_, n := p.Assign("s", []byte("x"))
		p.Sent(p.now, "s", n)
	}
	p.sent = nil
	p.hears("b", &Void{"a", 0})
	beat, again := -1, -1
	for i, e := range p.sent {
		switch e := e.(type) {
		case Send:
			if h, ok := e.Message.(*Heartbeat); ok && beat < 0 {
				beat = i
				if h.Incarnation != 1 || h.Count != 1 || len(h.Numbers) != 1 || h.Numbers[0] != (Last{"s", 3}) {
					t.Errorf("%+v", h)
				}
			}
		case Resend:
			again = i
			if e.To != "" || e.Incarnation != 1 || len(e.Updates) != 3 || e.Updates[2].Number != 3 {
				t.Errorf("%+v", e)
			}
		}
	}
	if beat < 0 || again < beat {
		t.Errorf("the heartbeat is effect %d, the updates %d", beat, again)
	}
	if i, n := p.Assign("s", nil); i != 1 || n != 4 {
		t.Errorf("the next is %d of %d", n, i)
	}
	for range 10 {
		p.hears("b", &Void{"a", p.incarnation})
	}
	if p.incarnation > 1+raiseBurst {
		t.Errorf("raised %d times at once", p.incarnation)
	}
}

func TestKeptAreBoundedInAll(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	for i := range 200 {
		key := string(rune('A'+i/26)) + string(rune('a'+i%26))
		p.step(StateAdded{Key: key})
		for range 10 {
			p.Assign(key, make([]byte, 40<<10))
		}
		if _, ok := p.states[key].kept.get(10); !ok {
			t.Fatalf("the last update of %s is not kept", key)
		}
		if p.keptAll > keptTotal {
			t.Fatalf("%d bytes are kept", p.keptAll)
		}
	}
	held := 0
	for _, st := range p.keys {
		held += len(st.kept.ring)
	}
	if held != p.keptAll {
		t.Errorf("%d bytes are kept, counted as %d", held, p.keptAll)
	}
}

// What an origin keeps it says on a bus once in a moment, however many ask: after an outage
// all members ask for the same.
func TestAllAreTold(t *testing.T) {
	for _, unicast := range []bool{false, true} {
		p := newPair(t, Transport{Unicast: unicast}, "s")
		for range 5 {
			_, n := p.Assign("s", []byte("x"))
			p.Sent(p.now, "s", n)
		}
		told := func(first, last uint64) int {
			p.sent = nil
			p.hears("b", &Missing{To: "a", Wants: []Want{{"s", 0, Ranges{{first, last}}}}})
			return len(take[*Kept](p))
		}
		again := 0
		if unicast { // who asks alone hears what is said
			again = 1
		}
		for i, c := range []struct {
			first, last uint64
			want        int
		}{{2, 3, 1}, {2, 3, again}, {3, 3, again}, {3, 4, 1}, {2, 4, again}} {
			if n := told(c.first, c.last); n != c.want {
				t.Errorf("with unicast %v, request %d is told %d times, want %d", unicast, i, n, c.want)
			}
		}
		p.after(resendWindow)
		if told(2, 3) != 1 {
			t.Errorf("with unicast %v, who asks later is not told", unicast)
		}
	}
}

// A resend on a bus serves all who ask within a moment.
func TestAResendServesAll(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	for range 5 {
		_, n := p.Assign("s", []byte("x"))
		p.Sent(p.now, "s", n)
	}
	count := func(first, last uint64) (n int) {
		p.sent = nil
		p.hears("b", &Missing{To: "a", Wants: []Want{{"s", 0, Ranges{{first, last}}}}})
		for _, r := range take[Resend](p) {
			n += len(r.Updates)
		}
		return n
	}
	if a, b, c := count(2, 3), count(2, 3), count(3, 4); a != 2 || b != 0 || c != 1 {
		t.Errorf("%d, %d and %d are sent again", a, b, c)
	}
	p.after(resendWindow)
	if n := count(2, 3); n != 2 {
		t.Errorf("%d are sent again later", n)
	}
	for what, m := range map[string]*Missing{
		"of another":     {To: "b", Wants: []Want{{"s", 0, Ranges{{1, 5}}}}},
		"incarnation":    {To: "a", Wants: []Want{{"s", 7, Ranges{{1, 5}}}}},
		"no ranges":      {To: "a", Wants: []Want{{"s", 0, Ranges{{5, 1}}}}},
		"another's keys": {To: "a", Wants: []Want{{"t", 0, Ranges{{1, 5}}}}},
	} {
		p.after(time.Second)
		p.sent = nil
		p.hears("b", m)
		if r := take[Resend](p); len(r) > 0 {
			t.Errorf("%s: %v", what, r)
		}
	}
}

// The origin's own word lowers a false last number, and tells what is gone.
func TestKeptTellsTheTruth(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Count: 2, Interval: time.Minute, Numbers: []Last{{"s", 1 << 40}}})
	s := p.roster.get("b").streams["s"]
	if s.missing.Count() != 1<<40 || len(s.missing) != 1 {
		t.Fatalf("%v", s)
	}
	p.hears("x", &Kept{Keys: []KeptKey{{"s", 3, nil}}})
	p.hears("b", &Kept{Incarnation: 4, Keys: []KeptKey{{"s", 3, nil}}})
	if s.top != 1<<40 {
		t.Error("somebody else's word counts")
	}
	p.hears("b", &Kept{Keys: []KeptKey{{"s", 3, Ranges{{1, 2}}}}})
	if s.String() != "top 3 arrived{} pending{} accounted{} refused{} lost{} missing{1-3} given{1-2}" {
		t.Errorf("%v", s)
	}
}

// Updates for keys that are not registered cost a bounded memory, and are
// missed only for a moment.
func TestForeignKeys(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	for i := range 1000 {
		key := []byte{byte(i), byte(i >> 8), 'k'}
		if v, _, _ := p.Receive(p.now, []byte("b"), key, 0, 1); v != Unknown {
			t.Fatalf("%v", v)
		}
	}
	if len(p.missed) > maxUnregistered {
		t.Errorf("%d are remembered", len(p.missed))
	}
	p.Receive(p.now, []byte("b"), []byte("soon"), 0, 3)
	p.Receive(p.now, []byte("b"), []byte("late"), 0, 3)
	p.step(StateAdded{Key: "soon"})
	p.after(unregisteredFor + time.Second)
	p.step(StateAdded{Key: "late"})
	if a, b := p.roster.get("b").streams["soon"], p.roster.get("b").streams["late"]; a == nil || a.top != 3 || b != nil {
		t.Errorf("%v, %v", a, b)
	}
}

// An update is sent again for as long as it is not out of date, whoever asks, and when the
// incarnation is raised.
func TestWhatIsKeptForTooLong(t *testing.T) {
	for after, again := range map[time.Duration]int{keptFor: 2, keptFor + time.Second: 1} {
		p := newPair(t, Transport{Unicast: true}, "s")
		p.roster.get("b").beat.Announced(time.Hour, time.Hour)
		_, first := p.Assign("s", []byte("x"))
		p.Sent(p.now, "s", first)
		since := p.Core.now
		p.after(keptFor / 2)
		_, second := p.Assign("s", []byte("y"))
		p.Sent(p.now, "s", second)
		p.now = since + after
		p.sent = nil
		p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Count: 9, Interval: time.Minute, Worth: Whole})
		p.hears("b", &Missing{To: "a", Wants: []Want{{"s", 0, Ranges{{first, second}}}}})
		sent := p.sent
		updates := 0
		for _, r := range take[Resend](p) {
			updates += len(r.Updates)
		}
		p.sent = sent
		kept := take[*Kept](p)
		if updates != again || len(kept) != 1 || len(kept[0].Keys[0].Gone) != 2-again {
			t.Errorf("after %v: %d updates are sent again, and told %v", after, updates, kept)
		}
		p.hears("a", &Goodbye{})
		updates = 0
		for _, r := range take[Resend](p) {
			updates += len(r.Updates)
		}
		if updates != again || p.keptAll != len(p.states["s"].kept.ring) {
			t.Errorf("after %v: %d are sent with a new incarnation", after, updates)
		}
	}
}
