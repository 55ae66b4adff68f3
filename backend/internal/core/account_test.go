package core

import (
	"strings"
	"testing"
)

// What a merged answer tells of numbers is taken where it can be true, and makes a node
// known only where all numbers were wanted.
func TestNumbersOfAnAnswer(t *testing.T) {
	long := strings.Repeat("x", maxInstanceBytes)
	for _, c := range []struct {
		what string
		all  bool // they were wanted
		Numbers
		known bool   // its origin, afterwards
		want  string // what of them is accounted to its origin
	}{
		{"of a member", true, Numbers{"b", 0, Ranges{{1, 9}}}, true, "{1-9}"},
		{"of a member, of what was missing", false, Numbers{"b", 0, Ranges{{1, 9}}}, true, "{2-3}"},
		{"of another incarnation", true, Numbers{"b", 1, Ranges{{1, 9}}}, true, "{}"},
		{"of an unknown node", true, Numbers{"x", 3, Ranges{{1, 9}}}, true, "{1-9}"},
		{"of an unknown node, not wanted", false, Numbers{"x", 3, Ranges{{1, 9}}}, false, "{}"},
		{"of one with the longest instance", true, Numbers{long, 0, Ranges{{1, 9}}}, true, "{1-9}"},
		{"of one with a longer instance", true, Numbers{long + "x", 0, Ranges{{1, 9}}}, false, "{}"},
		{"of nobody", true, Numbers{"", 0, Ranges{{1, 9}}}, false, "{}"},
		{"that are none", true, Numbers{"x", 0, Ranges{{9, 1}}}, false, "{}"},
	} {
		p := newPair(t, Transport{}, "s")
		_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, 1)
		p.Queued(p.now, r, true)
		_, r, _ = p.Receive(p.now, []byte("b"), []byte("s"), 0, 4)
		p.Queued(p.now, r, true)
		p.account(&pullKey{state: p.states["s"], all: c.all}, []Numbers{c.Numbers})
		origin, got := p.roster.get(c.Origin), Ranges(nil)
		if origin != nil && origin.streams["s"] != nil {
			got = origin.streams["s"].accounted
		}
		if known := origin != nil; known != c.known || got.String() != c.want {
			t.Errorf("%s: known is %v, accounted %v, want %v, %s", c.what, known, got, c.known, c.want)
		}
		if c.known && origin.incarnation != 0 && origin.incarnation != c.Incarnation {
			t.Errorf("%s: its incarnation is %d", c.what, origin.incarnation)
		}
	}
}

// A node that registers a key again holds what it said before only where a merged answer,
// to a question for all numbers, had it in this incarnation.
func TestOwnNumbersOfAnAnswer(t *testing.T) {
	for _, c := range []struct {
		what string
		all  bool
		Numbers
		want string
	}{
		{"all of them", true, Numbers{"a", 0, Ranges{{1, 9}}}, "{1-2}"},
		{"not asked for", false, Numbers{"a", 0, Ranges{{1, 9}}}, "{}"},
		{"of another incarnation", true, Numbers{"a", 1, Ranges{{1, 9}}}, "{}"},
	} {
		p := newPair(t, Transport{}, "s")
		p.Assign("s", nil)
		p.Assign("s", nil)
		p.step(StateRemoved{Key: "s"})
		p.step(StateAdded{Key: "s"})
		st := p.states["s"]
		p.account(&pullKey{state: st, all: c.all}, []Numbers{c.Numbers})
		if got := st.own.String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// Who wants all numbers is told those of members, in the incarnation that they are in, and
// nothing of whom there is nothing to tell.
func TestAllNumbers(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(p *pair)
		want bool
	}{
		{"merged", func(p *pair) {}, true},
		{"of a stranger", func(p *pair) { p.roster.get("b").member = false }, false},
		{"of a former incarnation", func(p *pair) { p.advance(p.roster.get("b"), 1) }, false},
		{"none merged", func(p *pair) { p.roster.get("b").streams["s"].arrived = nil }, false},
	} {
		p := newPair(t, Transport{}, "s")
		_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, 1)
		p.Queued(p.now, r, true)
		p.UpdateMerged(p.now, r, nil)
		c.do(p)
		numbers := p.numbersFor(p.states["s"], PullItem{All: true})
		if got := len(numbers) == 1; got != c.want {
			t.Errorf("%s: told are %v", c.what, numbers)
		}
	}
}

// What is missing of a member is asked about, in so many ranges.
func TestHolesOfAPull(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	for n := uint64(2); n <= 2*(maxWantRanges+1); n += 2 {
		_, r, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, n)
		p.Queued(p.now, r, true)
	}
	holes := p.holesOf(p.states["s"])
	if len(holes) != 1 || holes[0].Origin != "b" || len(holes[0].Ranges) != maxWantRanges {
		t.Errorf("%v", holes)
	}
}
