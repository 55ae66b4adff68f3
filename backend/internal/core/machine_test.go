package core

import (
	"fmt"
	"testing"
	"time"
)

// The views of a large cluster are not made anew for each of many changes.
func TestViewsOfALargeCluster(t *testing.T) {
	for members, want := range map[int]int{publishAtOnce: 2, publishAtOnce + 1: 1} {
		p := newPair(t, Transport{}, "s")
		for i := range members - 2 {
			p.joins(fmt.Sprint("m", i))
		}
		p.after(time.Second)
		p.joins("y")
		p.now += publishPause
		p.step(Tick{})
		p.sent = nil
		p.roster.get("y").Addr, p.changed = "1", true
		p.step(Tick{})
		p.joins("z")
		views := take[Publish](p)
		if len(views) != want {
			t.Errorf("%d members: %d views for two changes", members, len(views))
		}
		p.after(publishPause)
		if n := len(p.View().Members); n != members+2 {
			t.Errorf("%d of %d members in the end", n, members+2)
		}
	}
}

// Another member with this node's name is an error of the view, wherever it stands, and
// told once.
func TestNameConflicts(t *testing.T) {
	for _, instance := range []string{"0", "z"} { // before this node's, and after
		p := newPair(t, Transport{}, "s")
		p.sent = nil
		p.hears(instance, &Heartbeat{Member: Member{Name: "a"}, Count: 1, Interval: time.Minute, Worth: Whole})
		if p.View().Err != ErrNameConflict || notes(p, NoteConflict) != 1 {
			t.Errorf("%s: %v, told %d times", instance, p.View().Err, notes(p, NoteConflict))
		}
		p.joins("c")
		if n := notes(p, NoteConflict); n != 1 {
			t.Errorf("%s: told %d times", instance, n)
		}
		p.step(LinkDown{ErrDeaf})
		if p.View().Err != ErrDeaf || notes(p, NoteConflict) != 1 {
			t.Errorf("%s, while down: %v, told %d times", instance, p.View().Err, notes(p, NoteConflict))
		}
	}
	p := newPair(t, Transport{}, "s")
	if p.View().Err != nil || notes(p, NoteConflict) != 0 {
		t.Errorf("without one: %v", p.View().Err)
	}
}

// A node raises its incarnation a few times at once, and then seldom.
func TestRaisesAreBudgeted(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	for range raiseBurst {
		p.raise(p.incarnation, "a test")
	}
	for after, want := range map[time.Duration]uint32{raiseEvery - time.Millisecond: raiseBurst, raiseEvery + time.Millisecond: raiseBurst + 1} {
		q := *p.Core
		q.begin(p.now + after)
		q.raise(q.incarnation, "a test")
		if q.incarnation != want {
			t.Errorf("after %v: %d", after, q.incarnation)
		}
	}
}

// A member that tells of another address has it in the view.
func TestMembersThatChange(t *testing.T) {
	for was, want := range map[life]int{live: 1, failed: 0} {
		p := newPair(t, Transport{}, "s")
		b := p.roster.get("b")
		p.roster.turn(b, was, p.now)
		p.sent = nil
		p.hears("b", &Heartbeat{Member: Member{Name: "b", Addr: "new"}, Count: 2, Interval: time.Minute, Worth: Whole})
		if n := notes(p, NoteUpdated); n != want || p.View().Members[1].Addr != "new" {
			t.Errorf("%v: told %d times, %v", was, n, p.View().Members)
		}
	}
}

// What a member tells of the departed counts where they were members, in the incarnation
// that they were in.
func TestWhatIsToldOfTheDeparted(t *testing.T) {
	for _, c := range []struct {
		what string
		Departed
		do   func(p *pair)
		want uint64
	}{
		{"of who has left", Departed{"c", 0, []Last{{"s", 7}}}, func(*pair) {}, 7},
		{"of another incarnation", Departed{"c", 1, []Last{{"s", 7}}}, func(*pair) {}, 0},
		{"of a stranger", Departed{"c", 0, []Last{{"s", 7}}}, func(p *pair) { p.roster.get("c").member = false }, 0},
		{"of nobody", Departed{"x", 0, []Last{{"s", 7}}}, func(*pair) {}, 0},
	} {
		p := newPair(t, Transport{}, "s")
		p.departs("c")
		c.do(p)
		p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Count: 2, Interval: time.Minute, Worth: Whole, Departed: []Departed{c.Departed}})
		top := uint64(0)
		if s := p.roster.get("c").streams["s"]; s != nil {
			top = s.top
			if s.teller != p.roster.get("b") {
				t.Errorf("%s: who told of it is %v", c.what, s.teller)
			}
		}
		if top != c.want || p.roster.get("x") != nil {
			t.Errorf("%s: it used %d numbers", c.what, top)
		}
	}
}

// States that meet the same member are compared with it in one exchange, unless this node
// leaves, is not attached, or has enough exchanges under way.
func TestAskingWhoWasMet(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pair)
		want int
	}{
		{"attached", func(*pair) {}, 1},
		{"about to leave", func(p *pair) { p.closing = true }, 0},
		{"catching up", func(p *pair) { p.link = catchingUp }, 0},
		{"many exchanges", func(p *pair) {
			for range maxPulls {
				p.asked.pulls = append(p.asked.pulls, &pull{node: &node{}, deadline: Never})
			}
		}, 0},
	} {
		p := newPair(t, Transport{}, "s", "t", "u")
		p.joins("c")
		p.joined = []*node{p.roster.get("c")}
		c.do(p)
		before := len(p.asked.pulls)
		p.compareJoined()
		if n := len(p.asked.pulls) - before; n != c.want || n == 1 && len(p.asked.pulls[0].keys) != 3 {
			t.Errorf("%s: %d exchanges begin", c.what, n)
		}
		for _, st := range p.keys {
			if len(st.met) != 1 {
				t.Errorf("%s: %s has met %d", c.what, st.key, len(st.met))
			}
		}
	}
}

// On a bus the lowest of those that were met is asked; with unicast any of them.
func TestWhoOfThoseThatWereMet(t *testing.T) {
	for unicast, want := range map[bool]int{false: 1, true: 3} {
		p := newPair(t, Transport{Unicast: unicast}, "s")
		var met []*node
		for _, name := range []string{"d", "c", "e"} {
			p.joins(name)
			met = append(met, p.roster.get(name))
		}
		picked := map[string]bool{}
		for range 100 {
			picked[p.pickMet(met).Name] = true
		}
		if len(picked) != want || !picked["c"] {
			t.Errorf("unicast %v: %v", unicast, picked)
		}
		p.asked.pulls = []*pull{{node: met[0]}, {node: met[1]}, {node: met[2]}}
		if got := p.pickMet(met); got != nil {
			t.Errorf("%s is picked though an exchange is under way", got.Name)
		}
	}
}
