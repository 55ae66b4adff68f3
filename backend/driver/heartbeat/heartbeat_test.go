package heartbeat

import (
	"testing"
	"time"
)

const ms = time.Millisecond

func TestInterval(t *testing.T) {
	for _, c := range []struct {
		base time.Duration
		n    int
		want time.Duration
	}{
		{500 * ms, 1, 500 * ms},
		{500 * ms, 10, 500 * ms},
		{500 * ms, 11, 550 * ms},
		{500 * ms, 300, 15 * time.Second},
		{500 * ms, 1000, 50 * time.Second},
		{500 * ms, 5000, MaxInterval},
		{2 * time.Minute, 3, 2 * time.Minute},
	} {
		if got := Interval(c.base, c.n); got != c.want {
			t.Errorf("Interval(%v, %d) = %v, want %v", c.base, c.n, got, c.want)
		}
	}
}

func TestEchoes(t *testing.T) {
	var p Pulse
	p.Restart(0)
	first := p.Beat(10 * ms)
	second := p.Beat(510 * ms)
	if took, ok := p.Echo(515*ms, second); !ok || took != 5*ms {
		t.Errorf("the second echo took %v, %v", took, ok)
	}
	for what, count := range map[string]uint64{"an older one": first, "the same again": second, "one never sent": second + 1} {
		if _, ok := p.Echo(600*ms, count); ok {
			t.Errorf("%s counts as heard", what)
		}
	}
	if at := p.DeafAt(500 * ms); at != 2515*ms {
		t.Errorf("deaf at %v, want four intervals after the last echo", at)
	}
	third := p.Beat(time.Second)
	p.Restart(1100 * ms)
	if _, ok := p.Echo(1200*ms, third); ok {
		t.Error("an echo of before the link was up counts")
	}
	if at := p.DeafAt(500 * ms); at != 3100*ms {
		t.Errorf("deaf at %v, want four intervals after the link was up", at)
	}
}

func TestAges(t *testing.T) {
	type beat struct{ sent, heard, want time.Duration }
	for name, beats := range map[string][]beat{
		"an interval each":             {{500 * ms, 505 * ms, 500 * ms}, {1000 * ms, 1005 * ms, 500 * ms}},
		"extra ones in between":        {{500 * ms, 505 * ms, 500 * ms}, {600 * ms, 605 * ms, 100 * ms}, {1000 * ms, 1005 * ms, 400 * ms}},
		"many at once":                 {{500 * ms, 3000 * ms, 500 * ms}, {1000 * ms, 3000 * ms, 0}, {1500 * ms, 3001 * ms, ms}, {3500 * ms, 3505 * ms, 500 * ms}},
		"an outage counts an interval": {{500 * ms, 505 * ms, 500 * ms}, {20000 * ms, 20005 * ms, 500 * ms}},
	} {
		var p Pulse
		for i, b := range beats {
			n := p.Beat(b.sent)
			if _, ok := p.Echo(b.heard, n); !ok {
				t.Fatal("not heard")
			}
			if got := p.Ages(b.heard, 500*ms); got != b.want {
				t.Errorf("%s: the echo %d ages by %v, want %v", name, i, got, b.want)
			}
		}
	}
}

func TestStandingStillIsNotDeafness(t *testing.T) {
	var p Pulse
	p.Restart(time.Second)
	p.StoodStill(21*time.Second, 19*time.Second)
	if at := p.DeafAt(500 * ms); at != 22*time.Second {
		t.Errorf("deaf at %v, want 22s", at)
	}
	p.StoodStill(22*time.Second, time.Hour)
	if at := p.DeafAt(500 * ms); at != 24*time.Second {
		t.Errorf("deaf at %v: heard in the future", at)
	}
}

// With long intervals short pauses, of which a busy machine has many, must not make
// the others immortal.
func TestAPauseIsNoMoreThanItself(t *testing.T) {
	const interval = 15 * time.Second
	var p Pulse
	aged := time.Duration(0)
	for now := interval; now <= 10*interval; now += interval {
		p.StoodStill(now-10*time.Second, 300*ms)
		p.StoodStill(now-time.Second, 700*ms)
		if _, ok := p.Echo(now, p.Beat(now)); !ok {
			t.Fatal("it does not hear itself")
		}
		aged += p.Ages(now, interval)
	}
	if want := 10 * (interval - time.Second); aged != want {
		t.Errorf("the others have aged by %v in ten intervals, of which it stood still for 10s, want %v", aged, want)
	}
}

func TestSilence(t *testing.T) {
	age := func(m *Member, n int) (failed bool) {
		for range n {
			failed = m.Age(500 * ms)
		}
		return failed
	}
	t.Run("fails after four intervals of its own", func(t *testing.T) {
		var p Member
		p.Beat(time.Second, 500*ms)
		if age(&p, 8) || !age(&p, 1) {
			t.Error("not at the ninth half second")
		}
	})
	t.Run("an interval below the base is not believed", func(t *testing.T) {
		var p Member
		p.Beat(time.Nanosecond, 500*ms)
		if age(&p, 4) || !age(&p, 1) {
			t.Error("not after four bases")
		}
	})
	t.Run("nor one above the limit", func(t *testing.T) {
		var p Member
		p.Beat(time.Hour, 500*ms)
		if p.Interval() != MaxInterval {
			t.Error(p.Interval())
		}
	})
	t.Run("is excused once", func(t *testing.T) {
		var p Member
		p.Beat(500*ms, 500*ms)
		p.Excuse(10 * time.Second)
		if age(&p, 10) {
			t.Error("the allowance does not count")
		}
		p.Excuse(10 * time.Second) // attached again, and still not heard
		if age(&p, 14) || !age(&p, 1) {
			t.Error("not after the allowance and four intervals")
		}
		p.Heard()
		p.Excuse(10 * time.Second)
		if age(&p, 24) {
			t.Error("hearing it does not restore the allowance")
		}
	})
	t.Run("settles after three", func(t *testing.T) {
		var p Member
		p.Announced(500*ms, 500*ms)
		for i := range 3 {
			if p.Settled() {
				t.Error("settled after", i)
			}
			p.Beat(500*ms, 500*ms)
		}
		if !p.Settled() {
			t.Error("not settled")
		}
	})
}

// An echo that comes after many others is as old as the oldest that is known.
func TestAnOldEcho(t *testing.T) {
	var p Pulse
	for i := range 100 {
		p.Beat(time.Duration(i+1) * time.Second)
	}
	if took, ok := p.Echo(100*time.Second, 10); !ok || took != 63*time.Second {
		t.Errorf("it took %v", took)
	}
	if took, ok := p.Echo(100*time.Second, 90); !ok || took != 10*time.Second {
		t.Errorf("a later one took %v", took)
	}
}

// Heartbeats that are sent together age nobody by more than the time between them, however
// late they are heard.
func TestAgesBySending(t *testing.T) {
	var p Pulse
	p.Beat(1000 * time.Millisecond)
	p.Beat(1100 * time.Millisecond)
	p.Echo(1200*time.Millisecond, 1)
	p.Ages(1200*time.Millisecond, time.Second)
	p.Echo(2000*time.Millisecond, 2)
	if by := p.Ages(2000*time.Millisecond, time.Second); by != 100*time.Millisecond {
		t.Errorf("%v", by)
	}
}
