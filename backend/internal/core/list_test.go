package core

import (
	"fmt"
	"testing"
	"time"
)

// Who is asked who is there answers after those that come before it, if they do not, and
// leaves it to them where there are many.
func TestWhoAnswersAHello(t *testing.T) {
	for lower := range maxStandIns + 1 {
		p := newPair(t, Transport{}, "s")
		p.informed = true
		for i := range lower {
			p.joins(fmt.Sprint(i)) // a digit comes before a letter
		}
		p.sent = nil
		began := p.now
		p.oweList(p.roster.get("b"))
		for len(take[*List](p)) == 0 && p.now < began+10*time.Second {
			p.after(10 * time.Millisecond)
		}
		took, want := p.now-began, listDelay+time.Duration(lower)*standIn
		if lower >= maxStandIns {
			want = 10 * time.Second
		}
		if took < want || took > want+10*time.Millisecond {
			t.Errorf("with %d before it: answered after %v, want %v", lower, took, want)
		}
	}
}

// A list is believed for a while after a hello, and revives nobody.
func TestRumours(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pair)
		want life
	}{
		{"just after a hello", func(p *pair) { p.helloAt = p.now - rumourFor + 1 }, live},
		{"later", func(p *pair) { p.helloAt = p.now - rumourFor }, stranger},
		{"without a hello", func(p *pair) { p.helloAt = 0 }, stranger},
		{"of one that failed", func(p *pair) { p.helloAt = p.now; p.joins("c"); p.fail(p.roster.get("c")) }, failed},
		{"of one that has left", func(p *pair) { p.helloAt = p.now; p.joins("c"); p.leave(p.roster.get("c"), left) }, left},
		{"of one that was heard itself", func(p *pair) {
			p.helloAt = p.now
			p.meet(Member{Name: "c", Instance: "c"}).numbered = true
		}, stranger},
		{"without room", func(p *pair) {
			p.helloAt = p.now
			for i := range maxStrangers {
				p.meet(Member{Instance: fmt.Sprint(i)})
			}
		}, stranger},
	} {
		p := newPair(t, Transport{}, "s")
		p.begin(p.now + time.Minute)
		p.now = p.Core.now
		c.do(p)
		p.onMemberList("b", &List{Members: []ListMember{{Member: Member{Name: "c", Instance: "c"}, Interval: time.Second, Worth: Whole}}})
		got := stranger
		if n := p.roster.get("c"); n != nil {
			got = n.life
		}
		if got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// What a member is worth that has said nothing itself is known by a list.
func TestWorthByRumour(t *testing.T) {
	for known, want := range map[bool]Worth{false: Whole, true: Joining} {
		p := newPair(t, Transport{}, "s")
		c := p.meet(Member{Name: "c", Instance: "c"})
		p.roster.turn(c, live, p.now) // as where the transport lists it
		c.known, p.helloAt = known, p.now
		p.hears("b", &List{Members: []ListMember{{Member: Member{Name: "c", Instance: "c"}, Interval: time.Second, Worth: Whole}}})
		if c.worth != want || (len(p.joined) == 1) == known {
			t.Errorf("known is %v: it is worth %v, %d are met", known, c.worth, len(p.joined))
		}
	}
}

// A rumour tells of the incarnation that a member is in: the numbers of a former one are
// not those of this one, and those of this one stay.
func TestNumbersAfterARumour(t *testing.T) {
	for incarnation, want := range map[uint32]bool{0: true, 1: false} {
		p := newPair(t, Transport{}, "s")
		p.Receive(p.now, []byte("c"), []byte("s"), 0, 1)
		p.helloAt = p.now
		p.hears("b", &List{Members: []ListMember{{Member: Member{Name: "c", Instance: "c"}, Incarnation: incarnation, Interval: time.Second}}})
		n := p.roster.get("c")
		if n.incarnation != incarnation || (n.streams["s"] != nil) != want || n.life != live {
			t.Errorf("incarnation %d: %d, %v, %v", incarnation, n.incarnation, n.streams, n.life)
		}
	}
}

// A list to all by who knows all answers a hello; another one does not.
func TestWhatAnswersAHello(t *testing.T) {
	for _, c := range []struct {
		what string
		list List
		want bool
	}{
		{"of a ready member, to all", List{Members: []ListMember{{Member: Member{Name: "b", Instance: "b"}, Worth: Whole}}}, true},
		{"of a joining one", List{Members: []ListMember{{Member: Member{Name: "b", Instance: "b"}, Worth: Joining}}}, false},
		{"that lacks its sender", List{Members: []ListMember{{Member: Member{Name: "c", Instance: "c"}, Worth: Whole}}}, false},
		{"to this node alone", List{To: "a", Members: []ListMember{{Member: Member{Name: "b", Instance: "b"}, Worth: Whole}}}, false},
	} {
		p := newPair(t, Transport{}, "s")
		p.oweList(p.roster.get("b"))
		p.hears("b", &c.list)
		if got := p.listAt == Never; got != c.want {
			t.Errorf("%s: it is answered is %v", c.what, got)
		}
	}
}

// Views are compared by a list that this node asked for.
func TestListsThatAreCompared(t *testing.T) {
	for to, want := range map[string]bool{"a": true, "": false} {
		p := newPair(t, Transport{}, "s")
		b := p.roster.get("b")
		b.dispute.since = 1
		p.now += time.Hour
		p.begin(p.now)
		p.onMemberList("b", &List{To: to, Members: []ListMember{{Member: Member{Name: "b", Instance: "b"}, Worth: Whole}}})
		if b.dispute.named != want {
			t.Errorf("to %q: named is %v", to, b.dispute.named)
		}
	}
}
