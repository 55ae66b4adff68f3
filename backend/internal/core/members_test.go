package core

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestBelieve(t *testing.T) {
	for _, c := range []struct {
		what               string
		life               life
		numbered           bool
		incarnation, count uint64 // of the node: at incarnation 5, count 10
		leaves             bool
		want               bool
		then               uint32
	}{
		{"the next", live, true, 5, 11, false, true, 5},
		{"the same again", live, true, 5, 10, false, false, 5},
		{"an older one", live, true, 5, 3, false, false, 5},
		{"a higher incarnation", live, true, 6, 1, false, true, 6},
		{"one as high as can be", live, true, 5 + maxRaise, 1, false, true, 5 + maxRaise},
		{"one too high", live, true, 5 + maxRaise + 1, 1, false, false, 5},
		{"a former incarnation", live, true, 4, 99, false, false, 5},
		{"one that only others spoke of", stranger, false, 2, 1, false, true, 2},
		{"one far above what others spoke of", stranger, false, 5 + maxRaise + 1, 1, false, true, 5 + maxRaise + 1},
		{"from the failed", failed, true, 5, 11, false, true, 5},
		{"from one that left", left, true, 5, 11, false, false, 5},
		{"from one that left, raised", left, true, 6, 1, false, true, 6},
		{"from one that is leaving, without the mark", leaving, true, 5, 11, false, false, 5},
		{"from one that is leaving, with it", leaving, true, 5, 11, true, true, 5},
	} {
		core, _ := cluster(0, 1)
		p := core.roster.add(Member{Name: "p", Instance: "p"})
		core.roster.turn(p, c.life, 0)
		p.incarnation, p.count, p.numbered = 5, 10, c.numbered
		if got := core.believe(p, uint32(c.incarnation), c.count, c.leaves); got != c.want || p.incarnation != c.then {
			t.Errorf("%s: %v, incarnation %d; want %v, %d", c.what, got, p.incarnation, c.want, c.then)
		}
	}
}

// Who could not be reached while a member had to raise its incarnation far comes
// to believe it, and so does who heard a liar before the member itself.
func TestIncarnationsApart(t *testing.T) {
	const far = 5 * maxRaise
	for _, c := range []struct {
		what          string
		known, claims uint32
	}{{"it raised meanwhile", 0, far}, {"a liar was first", far, 0}} {
		p := newPair(t, Transport{}, "s")
		b := p.roster.get("b")
		b.incarnation = c.known
		beat := uint64(0)
		for said := 0; said < 2*voidAfter && b.incarnation != c.claims; said++ {
			p.after(500 * time.Millisecond)
			beat++
			p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Incarnation: c.claims, Count: beat, Interval: 500 * time.Millisecond, Worth: Whole})
		}
		if b.incarnation != c.claims || beat < voidAfter {
			t.Errorf("%s: believed is %d after %d heartbeats", c.what, b.incarnation, beat)
		}
		for range 4 * voidAfter { // the one that is believed goes on, and a liar too
			p.after(500 * time.Millisecond)
			beat++
			p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Incarnation: c.claims, Count: beat, Interval: 500 * time.Millisecond, Worth: Whole})
			p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Incarnation: c.known, Count: 1000 + beat, Interval: 500 * time.Millisecond, Worth: Whole})
			if b.incarnation != c.claims {
				t.Fatalf("%s: a liar is believed beside the member", c.what)
			}
		}
	}
}

// A liar that is heard before a member gives it a name. Who goes on is believed.
func TestALiarsName(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	beat := func(name string, count uint64) {
		p.hears("x", &Heartbeat{Member: Member{Name: name}, Count: count, Interval: time.Minute, Worth: Whole})
	}
	beat("liar", 1)
	for i := range uint64(2 * voidAfter) {
		p.after(500 * time.Millisecond)
		beat("x", 10+i)
	}
	if name := p.roster.get("x").Name; name != "x" {
		t.Fatalf("it is called %q", name)
	}
	for i := range uint64(2 * voidAfter) {
		p.after(500 * time.Millisecond)
		beat("x", 100+i)
		beat("liar", 1000+i)
	}
	if name := p.roster.get("x").Name; name != "x" {
		t.Errorf("beside the member a liar calls it %q", name)
	}
}

// With native membership, where heartbeats are rare, two are enough for a void, if
// they come later than copies do.
func TestVoidByMarks(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.roster.get("b").count = 1000
	p.transport = Transport{Native: true, Copies: 10 * time.Second}
	for i, c := range []struct {
		pause time.Duration
		voids int
	}{{5 * time.Second, 0}, {4 * time.Second, 0}, {2 * time.Second, 1}} {
		p.sent = nil
		p.now += c.pause
		p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Count: 10 + uint64(i), Interval: time.Minute, Worth: Whole})
		if n := len(take[*Void](p)); n != c.voids {
			t.Errorf("%d voids after heartbeat %d", n, i)
		}
	}
}

// Who does not raise its incarnation though it was told is believed as it is.
func TestAVoidInVain(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.hears("b", &Goodbye{Count: 1000})
	for i := range uint64(3 * voidAfter) {
		p.after(500 * time.Millisecond)
		p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Count: 10 + i, Interval: 500 * time.Millisecond, Worth: Whole})
	}
	if n := len(take[*Void](p)); n != 1 || p.roster.get("b").life != live {
		t.Errorf("%d voids, and it is %v", n, p.roster.get("b").life)
	}
}

func TestValidMember(t *testing.T) {
	for _, c := range []struct {
		what  string
		m     Member
		valid bool
	}{
		{"plain", Member{Name: "a-1.b_c:9", Instance: "i", Addr: "h:1", Meta: map[string]string{"zone": "x"}}, true},
		{"no name", Member{Instance: "i"}, false},
		{"no instance", Member{Name: "a"}, false},
		{"a NUL", Member{Name: "a\x00", Instance: "i"}, false},
		{"a long name", Member{Name: strings.Repeat("a", 129), Instance: "i"}, false},
		{"a long instance", Member{Name: "a", Instance: strings.Repeat("a", 65)}, false},
		{"a long address", Member{Name: "a", Instance: "i", Addr: strings.Repeat("a", 257)}, false},
		{"an address that is no text", Member{Name: "a", Instance: "i", Addr: "\xff"}, false},
		{"much meta data", Member{Name: "a", Instance: "i", Meta: map[string]string{"k": strings.Repeat("a", 512)}}, false},
		{"an empty key", Member{Name: "a", Instance: "i", Meta: map[string]string{"": "v"}}, false},
		{"meta data that is no text", Member{Name: "a", Instance: "i", Meta: map[string]string{"k": "\xff"}}, false},
	} {
		if validMember(c.m) != c.valid {
			t.Errorf("%s: valid is %v", c.what, !c.valid)
		}
	}
}

// A native transport's list decides who is present, and a member itself that it leaves:
// that is believed for a moment though the list has it.
func TestNativeMembership(t *testing.T) {
	kinds := func(w *world, name string) (left, failed int) {
		return w.notes[name][NoteLeft], w.notes[name][NoteFailed]
	}
	for _, c := range []struct {
		what, script string
		left, failed int
		members      int
	}{
		{"a crash", "kill b\n run 1s", 0, 1, 2},
		{"a goodbye", "close b\n run 1s\n kill b\n run 1s", 1, 0, 2},
		{"a leaving mark whose goodbye is lost", "loses goodbye 2\n close b\n run 1s\n kill b\n run 1s", 1, 0, 2},
		{"the transport says that it left", "left b\n kill b\n run 1s", 1, 0, 2},
		{"a forged goodbye", "forge a b goodbye count=99\n run 5s", 1, 0, 3},
		{"silence", "cut b a,c\n heal b a,c\n run 1m", 0, 1, 3},
		{"an outage here", "down a\n run 3s\n up a\n run 10s", 0, 0, 3},
	} {
		w := scene(t, "transport native unicast\n node a,b,c s\n run 5s")
		w.play(c.script)
		l, f := kinds(w, "a")
		if n := len(w.node("a").core.View().Members); l != c.left || f != c.failed || n != c.members {
			t.Errorf("%s: %d left, %d failed, %d members; want %d, %d, %d", c.what, l, f, n, c.left, c.failed, c.members)
		}
	}
}

// A list that is not whole after an outage drops nobody for a while.
func TestNativeAllowance(t *testing.T) {
	w := scene(t, "transport native unicast\n node a,b,c s\n run 5s\n down a\n run 3s")
	a := w.node("a")
	a.link = true
	a.step(Listed{[]Member{{Name: "a", Instance: "a"}}})
	a.step(LinkUp{w.bus})
	w.run(5 * time.Second)
	if n := len(a.core.View().Members); n != 3 {
		t.Fatalf("%d members at once", n)
	}
	w.run(6 * time.Second)
	if n := len(a.core.View().Members); n != 1 || w.notes["a"][NoteFailed] != 2 {
		t.Errorf("%d members after grace", n)
	}
}

// Exchanges of the transport's own make states ready, and close holes.
func TestNativeExchange(t *testing.T) {
	w := scene(t, "transport native unicast\n node a,b s\n run 5s\n say a s x\n run 1s")
	head := w.node("a").core.Head([]string{"s", "other"})
	if len(head.Items) != 1 || head.Items[0].Worth != Whole || head.Items[0].Numbers[0].Ranges.String() != "{1}" {
		t.Fatalf("%+v", head)
	}
	if d := w.node("a").core.viewDigest(); head.View != d {
		t.Errorf("the head tells another view than heartbeats do: %v, %v", head.View, d)
	}
	j := New(Config{Self: Member{Name: "j", Instance: "j"}, Heartbeat: time.Second, Grace: time.Second, Settle: 10 * time.Second, Sync: time.Minute}, 0)
	j.Step(0, StateAdded{Key: "s"})
	j.Step(0, StateAdded{Key: "t"})
	j.Step(0, Listed{[]Member{{Name: "a", Instance: "a"}, {Name: "j", Instance: "j"}}})
	j.Step(0, LinkUp{Transport{Native: true, Unicast: true, Exchange: true}})
	j.Step(0, Exchanged{Head: head, Keys: []string{"s"}})
	if j.states["s"].ready != Synced || j.states["t"].ready != Settling {
		t.Errorf("s is %v, t is %v", j.states["s"].ready, j.states["t"].ready)
	}
	j.Step(0, Received{From: "a", Message: &Heartbeat{Member: Member{Name: "a"}, Count: 50, Interval: time.Second, Numbers: []Last{{"s", 1}}}})
	if n := len(j.holes.open); n != 0 {
		t.Errorf("%d holes though the exchange had the update", n)
	}
	j.Step(0, Exchanged{Head: head, Keys: []string{"t"}, Failed: []string{"t"}})
	if j.states["t"].ready != Settling {
		t.Error("a state that could not be merged is ready")
	}
}

// Where all members speak another protocol, their full state is all there is.
func TestForeignMembers(t *testing.T) {
	j := New(Config{Self: Member{Name: "j", Instance: "j"}, Heartbeat: time.Second, Grace: time.Second, Settle: 10 * time.Second, Sync: time.Minute}, 0)
	j.Step(0, StateAdded{Key: "s"})
	j.Step(0, StateAdded{Key: "lacking"})
	j.Step(0, Listed{[]Member{{Name: "alertmanager"}, {Name: "j", Instance: "j"}}})
	j.Step(0, LinkUp{Transport{Native: true, Unicast: true, Exchange: true}})
	j.Effects()
	if j.View().Ready != Settling || len(j.View().Members) != 2 {
		t.Fatalf("%+v", j.View())
	}
	j.Step(time.Second, Exchanged{Keys: []string{"s"}})
	if j.View().Ready != Synced {
		t.Errorf("%v", j.View().Ready)
	}
	for _, e := range j.Effects() {
		if s, ok := e.(Send); ok && kindOf(s.Message) == "pull" {
			t.Error("a foreign member is asked")
		}
	}
}

// Who never was a member is searched for nothing, whatever is said in its name.
func TestInventedGoodbyes(t *testing.T) {
	w := scene(t, "config sync=1h\n node a,b s\n run 10s")
	clear(w.count)
	for i := range 500 {
		name := fmt.Sprintf("x%d", i)
		w.node("a").step(Received{From: name, Message: &Goodbye{Count: 9, Numbers: []Last{{"s", 1 << 40}}}})
		w.run(10 * time.Millisecond)
	}
	w.run(30 * time.Second)
	if n := w.count["pull"] + w.count["missing"]; n > 0 {
		t.Errorf("%d requests", n)
	}
	if n := len(w.node("a").core.roster.all); n > maxDeparted+maxStrangers+1 {
		t.Errorf("%d nodes are known", n)
	}
}

// Late updates of the incarnation before are merged, once each.
func TestFormerIncarnation(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	receive := func(incarnation uint32, number uint64) Verdict {
		v, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), incarnation, number)
		if v == Deliver {
			p.Queued(p.now, r, true)
			p.UpdateMerged(p.now, r, nil)
		}
		return v
	}
	receive(0, 1)
	p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Incarnation: 900, Count: 1, Interval: time.Minute, Worth: Whole})
	for _, c := range []struct {
		incarnation uint32
		number      uint64
		want        Verdict
	}{{0, 1, Duplicate}, {0, 2, Deliver}, {0, 2, Duplicate}, {900, 1, Deliver}, {900, 1, Duplicate}, {5, 1, Deliver}, {5, 1, Deliver}} {
		if got := receive(c.incarnation, c.number); got != c.want {
			t.Errorf("%d of incarnation %d: %v, want %v", c.number, c.incarnation, got, c.want)
		}
	}
	if n := p.states["s"].pending; n != 0 {
		t.Errorf("%d are pending", n)
	}
}

// What becomes of a state between an update's arrival and its Merge does not
// count it twice.
func TestRemovedBetween(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, 1)
	st := p.states["s"]
	p.step(StateRemoved{"s"})
	p.Queued(p.now, r, true)
	p.UpdateMerged(p.now, r, nil)
	if st.pending != 0 || p.streams != 0 {
		t.Errorf("%d pending, %d streams", st.pending, p.streams)
	}
}

// Who cannot be asked, or has nobody to ask it, is closed without the moment for that.
func TestCloseWithoutAMoment(t *testing.T) {
	for what, before := range map[string]func(p *pair){
		"without a link":         func(p *pair) { p.step(LinkDown{}) },
		"before it hears itself": func(p *pair) { p.step(LinkDown{}); p.step(LinkUp{}) },
		"without another member": func(p *pair) { p.hears("b", &Goodbye{Count: 2}) },
		"with another member":    func(*pair) {},
	} {
		p := newPair(t, Transport{}, "s")
		before(p)
		p.step(Close{})
		p.step(Flushed{})
		closed := len(take[Closed](p)) == 1
		if atOnce := what != "with another member"; closed != atOnce {
			t.Errorf("%s: closed at once is %v", what, closed)
		}
		p.after(linger)
		if !closed && len(take[Closed](p)) != 1 {
			t.Errorf("%s: not closed after %v", what, linger)
		}
	}
}

// A liar told of a member before it was heard itself: that its interval is an hour.
func TestSteadyByItsOwnInterval(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	beat := func(count uint64, interval time.Duration) {
		p.hears("x", &Heartbeat{Member: Member{Name: "x"}, Count: count, Interval: interval, Worth: Whole})
	}
	beat(1, time.Hour)
	for count := range uint64(2 * steadyBeats) {
		p.after(500 * time.Millisecond)
		beat(2+count, 500*time.Millisecond)
	}
	p.after(500 * time.Millisecond)
	if x := p.roster.get("x"); !x.steady {
		t.Errorf("%s counts for no view after %d of its intervals", x.Name, 2*steadyBeats)
	}
}
