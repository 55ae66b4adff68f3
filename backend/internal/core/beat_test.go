package core

import (
	"fmt"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
)

// beatOf returns the next heartbeat of a.
func (p *pair) beatOf() *Heartbeat {
	p.t.Helper()
	p.sent = nil
	p.beatNow()
	p.step(Tick{})
	beats := take[*Heartbeat](p)
	if len(beats) == 0 {
		p.t.Fatal("no heartbeat")
	}
	return beats[0]
}

// departs has a member say its last numbers and go.
func (p *pair) departs(name string, numbers ...Last) {
	p.joins(name)
	p.hears(name, &Goodbye{Count: 9, Numbers: numbers})
}

// Intervals stretch by how many there are, this node included.
func TestIntervalsStretch(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	for i := range 12 {
		name := fmt.Sprint("m", i)
		for count := range uint64(3) {
			p.hears(name, &Heartbeat{Member: Member{Name: name}, Count: count + 1, Interval: time.Second, Worth: Whole})
		}
	}
	if got, want := p.beatOf().Interval, 500*time.Millisecond*13/10; got != want {
		t.Errorf("%v with 12 others, want %v", got, want)
	}
}

// The last numbers of who has gone are told in a few heartbeats, of so many at once, and
// of so many keys.
func TestTheDepartedAreTold(t *testing.T) {
	t.Run("for some heartbeats", func(t *testing.T) {
		p := newPair(t, Transport{}, "s")
		p.departs("c", Last{"s", 7})
		for i := range tellDeparted {
			if told := p.beatOf().Departed; len(told) != 1 || told[0].Instance != "c" || told[0].Numbers[0] != (Last{"s", 7}) {
				t.Fatalf("heartbeat %d tells %v", i, told)
			}
		}
		if told := p.beatOf().Departed; len(told) != 0 {
			t.Errorf("it goes on: %v", told)
		}
	})
	t.Run("so many", func(t *testing.T) {
		p := newPair(t, Transport{}, "s")
		for i := range tellChanged + 1 {
			p.departs(fmt.Sprint("m", i), Last{"s", 7})
		}
		if told := p.beatOf().Departed; len(told) != tellChanged {
			t.Errorf("%d are told", len(told))
		}
	})
	t.Run("so many keys", func(t *testing.T) {
		var keys []string
		var numbers []Last
		for i := range tellChanged + 1 {
			keys = append(keys, fmt.Sprintf("k%02d", i))
			numbers = append(numbers, Last{keys[i], 7})
		}
		p := newPair(t, Transport{}, keys...)
		p.departs("c", numbers...)
		if told := p.beatOf().Departed; len(told) != 1 || len(told[0].Numbers) != tellChanged {
			t.Errorf("%v", told)
		}
	})
	t.Run("who said nothing", func(t *testing.T) {
		p := newPair(t, Transport{}, "s")
		p.departs("c")
		if told := p.beatOf().Departed; len(told) != 0 {
			t.Errorf("%v", told)
		}
	})
	t.Run("once more, when something late comes of it", func(t *testing.T) {
		for life, want := range map[life]int{left: tellDeparted, failed: tellDeparted, live: 0, leaving: 0, stranger: 0} {
			p := newPair(t, Transport{}, "s")
			b := p.roster.get("b")
			p.roster.turn(b, life, p.now)
			p.tellAgain(b)
			if b.tell != want {
				t.Errorf("a member that is %v is told %d times", life, b.tell)
			}
		}
		p := newPair(t, Transport{}, "s")
		p.hears("x", &Goodbye{Count: 1})
		x := p.roster.get("x")
		p.tellAgain(x)
		if x.tell != 0 {
			t.Error("a stranger is told of")
		}
	})
}

// Marks are rare, and not all at once; one that tells of a change comes soon.
func TestMarks(t *testing.T) {
	p := newPair(t, Transport{Native: true}, "s")
	p.changes = nil
	seen := map[time.Duration]bool{}
	for range 100 {
		d := p.beatPause()
		seen[d] = true
		if d < markEvery-markEvery/10 || d > markEvery+markEvery/10 {
			t.Fatalf("%v between two marks", d)
		}
	}
	if len(seen) < 50 {
		t.Errorf("%d different pauses of 100", len(seen))
	}
	p.markAt = Never
	p.tellMark()
	if p.markAt != p.now+markDelay {
		t.Errorf("a mark that tells a change is sent at %v, now is %v", p.markAt, p.now)
	}
	p.changes = p.keys
	if d := p.beatPause(); d != markAgain {
		t.Errorf("it is told once more after %v", d)
	}
}

// knows has b say, often enough to count, that it understands short heartbeats.
func (p *pair) knows(name string, brief bool) {
	for range heartbeat.Settled {
		p.hears(name, &Heartbeat{
			Member: Member{Name: name}, Count: p.roster.get(name).count + 1, Interval: time.Minute, Brief: brief, Worth: Whole, View: p.viewDigest(),
		})
	}
}

// A heartbeat says what an earlier one said by naming it, where all understand that. One
// of four says it again, and so does the next one after anything else is the case.
func TestShortHeartbeats(t *testing.T) {
	full := func(p *pair, want string, beats ...*Heartbeat) {
		p.t.Helper()
		got := ""
		for _, h := range beats {
			switch {
			case h.Like == 0:
				got += "f"
			case h.Like >= h.Count || h.Member.Name != "" || h.View.Count != 0:
				p.t.Errorf("heartbeat %d is like %d: %+v", h.Count, h.Like, h)
			default:
				got += "s"
			}
		}
		if got != want {
			p.t.Errorf("they are %s, want %s", got, want)
		}
	}
	next := func(p *pair, n int) (beats []*Heartbeat) {
		for range n {
			beats = append(beats, p.beatOf())
		}
		return beats
	}
	for name, c := range map[string]struct {
		transport Transport
		brief     bool
		does      func(p *pair)
		want      string
	}{
		"at rest":                       {brief: true, does: func(*pair) {}, want: "sssfsss"},
		"who does not understand it":    {does: func(*pair) {}, want: "fffffff"},
		"with native membership":        {transport: Transport{Native: true}, brief: true, does: func(*pair) {}, want: "fffffff"},
		"a state is added":              {brief: true, does: func(p *pair) { p.step(StateAdded{Key: "t"}) }, want: "fsssfss"},
		"its interval is another":       {brief: true, does: func(p *pair) { p.cfg.Heartbeat *= 2 }, want: "fsssfss"},
		"it hears what is for it alone": {brief: true, does: func(p *pair) { p.transport.Unicast = true }, want: "fsssfss"},
		"somebody says hello": {brief: true, does: func(p *pair) {
			p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Count: 1000, Interval: time.Minute, Worth: Whole, Brief: true, Hello: true})
		}, want: "fsssfss"},
		"somebody appears": {brief: true, does: func(p *pair) {
			p.hears("c", &Heartbeat{Member: Member{Name: "c"}, Count: 1, Interval: time.Minute, Worth: Whole, Brief: true})
		}, want: "fsssfss"},
		"one who does not understand came": {brief: true, does: func(p *pair) { p.joins("c") }, want: "fffffff"},
		"one who has no name says that":    {brief: true, does: func(p *pair) { p.hears("c", &Heartbeat{Count: 5, Like: 4}) }, want: "fsssfss"},
		"it raises its incarnation":        {brief: true, does: func(p *pair) { p.incarnation++ }, want: "fsssfss"},
		"it leaves":                        {brief: true, does: func(p *pair) { p.closing = true }, want: "fffffff"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, c.transport, "s")
			p.knows("b", c.brief)
			p.hello, p.full = 0, nil
			full(p, "f", p.beatOf())
			c.does(p)
			full(p, c.want, next(p, len(c.want))...)
		})
	}
	t.Run("numbers", func(t *testing.T) {
		p := newPair(t, Transport{}, "s", "t")
		p.knows("b", true)
		p.hello = 0
		p.states["s"].sent, p.states["t"].sent = 7, 8
		p.beatOf()
		p.tellSoon(p.states["s"])
		for range tellTimes {
			if h := p.beatOf(); h.Like == 0 || len(h.Numbers) != 1 || h.Numbers[0] != (Last{"s", 7}) {
				t.Errorf("a short one tells %v", h.Numbers)
			}
		}
		if h := p.beatOf(); h.Like != 0 || len(h.Numbers) != 2 {
			t.Errorf("a full one tells %v", h.Numbers)
		}
	})
}

// A short heartbeat is a sign of life of whoever is known, and repeats what was heard; a
// view that was not heard it does not tell.
func TestAShortHeartbeatIsHeard(t *testing.T) {
	short := func(count, like uint64) *Heartbeat { return &Heartbeat{Count: count, Like: like} }
	t.Run("what it names", func(t *testing.T) {
		p := newPair(t, Transport{Unicast: true}, "s")
		p.knows("b", true)
		b := p.roster.get("b")
		last := b.count
		p.hears("b", short(last+1, last))
		if b.count != last+1 || b.Name != "b" || b.worth != Whole || !b.brief || !b.alone || b.beat.Interval() != time.Minute {
			t.Errorf("%+v", b)
		}
		b.view = ViewDigest{1, 1}
		p.hears("b", short(last+2, last))
		if b.dispute.since == 0 {
			t.Error("the view that it names differs")
		}
		b.dispute, b.lacks = dispute{}, map[string]bool{"t": true}
		p.hears("b", short(last+3, last))
		if !b.lacks["t"] {
			t.Error("what it lacks is forgotten")
		}
		b.dispute, b.keySet = dispute{}, 7
		p.hears("b", short(last+4, last+2))
		if b.dispute.since != 0 || b.lacks["t"] || b.keySet != 0 {
			t.Error("the view and the keys that it names were not heard")
		}
		p.step(Received{From: "b", Message: short(last+4, last)})
		if b.count != last+4 || b.ignored != 1 {
			t.Errorf("one that comes again is news: %d, %d", b.count, b.ignored)
		}
	})
	t.Run("who does not hear what is for it alone", func(t *testing.T) {
		p := newPair(t, Transport{Unicast: true}, "s")
		b := p.roster.get("b")
		b.alone = false
		p.step(Received{From: "b", Message: short(b.count+1, b.count)})
		if b.alone {
			t.Error("it does after a short one")
		}
	})
	t.Run("after another name", func(t *testing.T) {
		p := newPair(t, Transport{}, "s")
		b := p.roster.get("b")
		evil := func(count uint64) *Heartbeat {
			return &Heartbeat{Member: Member{Name: "evil"}, Count: count, Interval: time.Minute, Worth: Whole}
		}
		p.hears("b", evil(b.count)) // as if its last one had told it
		p.hears("b", short(2, 1))
		if b.count != 2 {
			t.Error("a liar makes that of nothing which was believed")
		}
		p.hears("b", evil(5))
		ignored := b.ignored
		p.now += time.Second
		p.hears("b", short(6, 5))
		if b.count != 2 || b.ignored != ignored {
			t.Errorf("it names one that was not believed: %d, ignored %d", b.count, b.ignored)
		}
	})
	t.Run("of nobody", func(t *testing.T) {
		p := newPair(t, Transport{}, "s")
		p.hears("c", short(5, 4))
		if c := p.roster.get("c"); c != nil {
			t.Errorf("%+v", c)
		}
	})
	t.Run("of who is listed", func(t *testing.T) {
		p := newPair(t, Transport{Unicast: true}, "s")
		p.helloAt = p.now
		p.hears("b", &List{Members: []ListMember{
			{Member: Member{Name: "b", Instance: "b"}, Worth: Whole}, {Member: Member{Name: "c", Instance: "c"}, Count: 4, Interval: time.Minute, Worth: Whole},
		}})
		p.hears("c", short(5, 4))
		c := p.roster.get("c")
		if c == nil || c.life != live || c.count != 5 || !c.numbered || !c.alone || c.view != (ViewDigest{}) {
			t.Errorf("%+v", c)
		}
	})
}

// Who hears somebody whose name is not known waits for the full heartbeat, but not for ever,
// and not for less than who hears nobody.
func TestNotAloneWithTheNameless(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	at := p.attachedAt + p.cfg.Heartbeat
	if got := p.aloneAt(); got != at {
		t.Fatalf("alone at %v, want %v", got, at)
	}
	p.now += time.Hour
	p.hears("c", &Heartbeat{Count: 5, Like: 4})
	if got, want := p.aloneAt(), p.now+fullEvery*p.cfg.Heartbeat; got != want {
		t.Errorf("alone at %v, want %v", got, want)
	}
	was := p.aloneAt()
	p.now += time.Second
	p.hears("c", &Heartbeat{Count: 6, Like: 4})
	if got := p.aloneAt(); got != was {
		t.Errorf("alone at %v, put off from %v", got, was)
	}
	p.unknownAt = p.attachedAt - time.Hour
	if got, want := p.aloneAt(), p.attachedAt+p.cfg.Heartbeat; got != want {
		t.Errorf("alone at %v, want %v", got, want)
	}
}
