package core

import (
	"fmt"
	"testing"
	"time"
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
