package core

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestLimits holds each bound to its last value that is allowed and the first that is not.
func TestLimits(t *testing.T) {
	text := func(n int) string { return strings.Repeat("x", n) }
	for what, c := range map[string]struct {
		most int
		ok   func(p *pair, n int) bool
	}{
		"length of an instance that says goodbye": {maxInstanceBytes, func(p *pair, n int) bool {
			p.hears(text(n), &Goodbye{Count: 1})
			return p.roster.get(text(n)) != nil
		}},
		"length of an instance that sends an update": {maxInstanceBytes, func(p *pair, n int) bool {
			v, _, _ := p.Receive(p.now, []byte(text(n)), []byte("s"), 0, 1)
			return v == Deliver
		}},
		"length of a key that a stranger uses": {maxKeyBytes, func(p *pair, n int) bool {
			v, _, _ := p.Receive(p.now, []byte("x"), []byte(text(n)), 0, 1)
			return v != Refused
		}},
		"length of a key that is registered": {maxKeyBytes, func(p *pair, n int) bool {
			p.step(StateAdded{Key: text(n)})
			return p.states[text(n)] != nil
		}},
		"length of a key that may be registered soon": {maxKeyBytes, func(p *pair, n int) bool {
			p.announced(p.roster.get("b"), 0, Last{text(n), 1})
			return len(p.missed) == 1
		}},
		"length of a member's instance": {maxInstanceBytes, func(p *pair, n int) bool { return validMember(Member{Name: "n", Instance: text(n)}) }},
		"length of a member's name":     {maxNameBytes, func(p *pair, n int) bool { return validMember(Member{Name: text(n), Instance: "i"}) }},
		"length of a member's address":  {maxAddrBytes, func(p *pair, n int) bool { return validMember(Member{Name: "n", Instance: "i", Addr: text(n)}) }},
		"length of a member's meta data": {maxMetaBytes, func(p *pair, n int) bool {
			return validMember(Member{Name: "n", Instance: "i", Meta: map[string]string{text(10): text(n - 10)}})
		}},
		"strangers": {maxStrangers, func(p *pair, n int) bool {
			p.roster.count[stranger] = n - 1
			return !p.roster.full(stranger)
		}},
		"members": {maxMembers, func(p *pair, n int) bool {
			p.roster.count[live], p.roster.count[leaving] = n-11, 10
			return !p.roster.full(live)
		}},
		"departed": {maxDeparted, func(p *pair, n int) bool {
			p.roster.count[left], p.roster.count[failed] = n-11, 10
			return !p.roster.full(left) && !p.roster.full(failed)
		}},
		"streams": {maxStreams, func(p *pair, n int) bool {
			p.streams = n - 1
			return p.newStream(p.now, p.roster.get("b"), map[string]*stream{}, []byte("s"), 0, 1) != nil
		}},
		"keys of a stranger": {maxStrangerKeys, func(p *pair, n int) bool {
			x := p.roster.add(Member{Instance: "x"})
			for i := range n - 1 {
				x.streams[fmt.Sprint(i)] = &stream{}
			}
			return p.newStream(p.now, x, x.streams, []byte("s"), 0, 1) != nil
		}},
		"keys that were removed": {maxRetired, func(p *pair, n int) bool {
			for i := range n - 1 {
				p.retired[fmt.Sprint(i)] = numbersOf{1, 1}
			}
			p.Assign("s", nil)
			p.step(StateRemoved{Key: "s"})
			return p.incarnation == 0 && len(p.retired) == n
		}},
		"missed updates of keys that are not registered": {maxUnregistered, func(p *pair, n int) bool {
			for i := range n {
				p.announced(p.roster.get("b"), 0, Last{fmt.Sprint(i), 1})
			}
			return p.missed[0].key == "0"
		}},
		"seconds for which they are remembered": {int(unregisteredFor / time.Second), func(p *pair, n int) bool {
			p.announced(p.roster.get("b"), 0, Last{"later", 3})
			p.now += time.Duration(n) * time.Second
			p.step(StateAdded{Key: "later"})
			return p.roster.get("b").streams["later"] != nil
		}},
		"states that a view names": {maxNamed, func(p *pair, n int) bool {
			for i := range n {
				p.step(StateAdded{Key: fmt.Sprintf("k%02d", i)})
				p.states[fmt.Sprintf("k%02d", i)].ready = TimedOut
			}
			return len(p.unready()) == n
		}},
		"waiting updates of a state that is free": {5, func(p *pair, n int) bool {
			p.states["s"].queue, p.states["s"].pending = 10, n
			return p.states["s"].isFree()
		}},
		"ranges of a key that are asked for": {maxWantRanges, func(p *pair, n int) bool {
			_, number := p.Assign("s", []byte("x"))
			p.Sent(p.now, "s", number)
			var numbers Ranges
			for i := range uint64(n) {
				numbers = append(numbers, Range{1 + 2*i, 1 + 2*i})
			}
			p.sent = nil
			p.hears("b", &Missing{To: "a", Wants: []Want{{"s", 0, numbers}}})
			return len(take[Resend](p)) == 1
		}},
		"bytes of an update that is kept in the ring": {keptBytes / 4, func(p *pair, n int) bool {
			var k kept
			k.add(0, 1, make([]byte, n))
			return k.entries[0].alone == nil
		}},
		"bytes of large updates that are kept": {keptBytes, func(p *pair, n int) bool {
			var k kept
			k.add(0, 1, make([]byte, keptBytes/2))
			k.add(0, 2, make([]byte, n-keptBytes/2))
			return k.first(3) == 1
		}},
		"exchanges under way": {maxPulls, func(p *pair, n int) bool {
			p.step(StateAdded{Key: "t"})
			p.asked.pulls = make([]*pull, n-1)
			for i := range p.asked.pulls {
				p.asked.pulls[i] = &pull{node: &node{}, deadline: Never}
			}
			p.states["s"].news, p.states["s"].pull = true, nil
			p.asked.news(p.Core, p.states["s"])
			return len(p.asked.pulls) == n
		}},
	} {
		for n, want := range map[int]bool{c.most: true, c.most + 1: false} {
			p := newPair(t, Transport{}, "s")
			if got := c.ok(p, n); got != want {
				t.Errorf("%s: %d is allowed is %v", what, n, got)
			}
		}
	}
}

// Numbers above the highest that is believed, and the zero number, are refused, whoever
// tells of them.
func TestNumbersThatAreBelieved(t *testing.T) {
	for n, want := range map[uint64]bool{0: false, 1: true, maxNumber: true, maxNumber + 1: false} {
		for what, ok := range map[string]func(p *pair) bool{
			"an update": func(p *pair) bool {
				v, _, _ := p.Receive(p.now, []byte("b"), []byte("s"), 0, n)
				return v == Deliver
			},
			"a heartbeat": func(p *pair) bool {
				p.announced(p.roster.get("b"), 0, Last{"s", n})
				return p.roster.get("b").streams["s"] != nil
			},
			"ranges": func(*pair) bool { return Ranges{{min(1, n), n}}.valid() },
		} {
			if got := ok(newPair(t, Transport{}, "s")); got != want {
				t.Errorf("%d in %s: believed is %v", n, what, got)
			}
		}
	}
}

// A message without an instance is of nobody.
func TestMessagesOfNobody(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.hears("", &Goodbye{Count: 1})
	v, _, _ := p.Receive(p.now, nil, []byte("s"), 0, 1)
	if len(p.roster.all) != 1 || v != Refused {
		t.Errorf("%d are known, and its update is %v", len(p.roster.all), v)
	}
}

// A state is registered once, under a key.
func TestKeysOfStates(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	st := p.states["s"]
	p.step(StateAdded{Key: "s"})
	p.step(StateAdded{Key: ""})
	if p.states["s"] != st || len(p.keys) != 1 {
		t.Errorf("%d states", len(p.keys))
	}
}

// A name has letters and digits and a few signs, and nothing beside them.
func TestNames(t *testing.T) {
	for _, r := range "azAZ09._-:" {
		if !validName("n" + string(r)) {
			t.Errorf("%q is not allowed in a name", r)
		}
	}
	for _, r := range "`{@[/;\x00 ,é" {
		if validName("n" + string(r)) {
			t.Errorf("%q is allowed in a name", r)
		}
	}
}

// Among those in some turn of life the oldest is the one that took it first.
func TestOldest(t *testing.T) {
	r := roster{byID: map[string]*node{}}
	for i, n := range []struct {
		name  string
		life  life
		since time.Duration
	}{{"a", failed, 5}, {"b", left, 3}, {"c", left, 3}, {"d", failed, 4}, {"e", live, 1}} {
		p := r.add(Member{Name: n.name, Instance: fmt.Sprint(i)})
		r.turn(p, n.life, n.since)
	}
	for _, c := range []struct {
		lives []life
		want  string
	}{{[]life{left, failed}, "b"}, {[]life{failed}, "d"}, {[]life{live}, "e"}} {
		if got := r.oldest(c.lives...); got.Name != c.want {
			t.Errorf("the oldest of %v is %s", c.lives, got.Name)
		}
	}
	if got := r.oldest(stranger); got != nil {
		t.Errorf("%s is a stranger", got.Name)
	}
}

// Where there is no room for one more stranger, one gives way that has been known for
// longer than a heartbeat.
func TestStrangersGiveWay(t *testing.T) {
	for age, want := range map[time.Duration]bool{time.Millisecond: false, 500 * time.Millisecond: false, 501 * time.Millisecond: true} {
		p := newPair(t, Transport{}, "s")
		for i := range maxStrangers {
			p.meet(Member{Instance: fmt.Sprint("x", i)})
		}
		p.now += age
		p.hears("new", &Goodbye{Count: 1})
		if got := p.roster.get("new") != nil; got != want || (p.roster.get("x0") == nil) != want {
			t.Errorf("after %v: it is known is %v", age, got)
		}
	}
}

// What is sent is told once, and nothing of a state that is gone.
func TestSentIsTold(t *testing.T) {
	p := newPair(t, Transport{Native: true}, "s")
	p.changes, p.states["s"].queuedUp = nil, false
	_, n := p.Assign("s", nil)
	p.Sent(p.now, "s", n)
	if len(p.changes) != 1 || p.markAt != p.now+markDelay {
		t.Fatalf("%d changes, told at %v", len(p.changes), p.markAt)
	}
	p.changes, p.states["s"].queuedUp = nil, false
	for _, key := range []string{"s", "gone"} {
		if wake := p.Sent(p.now+time.Second, key, n); wake || len(p.changes) != 0 {
			t.Errorf("%s#%d is told once more", key, n)
		}
	}
}

// Only what is kept can be had again.
func TestWhatIsKept(t *testing.T) {
	var k kept
	if _, ok := k.get(1); ok || k.first(7) != 7 {
		t.Error("something is kept of nothing")
	}
	for n := uint64(5); n <= 7; n++ {
		k.add(0, n, []byte{byte(n)})
	}
	for n := uint64(4); n <= 8; n++ {
		if b, ok := k.get(n); ok != (n >= 5 && n <= 7) || ok && b[0] != byte(n) {
			t.Errorf("%d: %v", n, b)
		}
	}
}

// What all keys keep has a bound, and the largest of the others gives way to the one that
// is said something for.
func TestTheLargestGivesWay(t *testing.T) {
	p := newPair(t, Transport{}, "a", "b", "c", "d", "e")
	for key, times := range map[string]int{"a": 1, "b": 3, "c": 9} {
		for range times {
			p.Assign(key, make([]byte, 10<<10))
		}
	}
	p.Assign("d", make([]byte, keptBytes/2)) // by itself, in no ring
	p.keptAll = keptTotal
	p.trimKept(p.states["a"])
	if p.keptAll != keptTotal || p.states["c"].kept.size == 0 {
		t.Fatal("something gives way though there is room")
	}
	for _, want := range []string{"c", "b"} {
		p.keptAll = keptTotal + 1
		p.trimKept(p.states["a"])
		if p.states[want].kept.size != 0 {
			t.Errorf("%s does not give way", want)
		}
		for _, key := range []string{"a", "d"} {
			if p.states[key].kept.size == 0 {
				t.Errorf("%s gives way", key)
			}
		}
	}
	p.keptAll = 3 * keptTotal
	p.trimKept(p.states["a"])
	if p.states["a"].kept.size == 0 || p.states["d"].kept.size != 0 {
		t.Error("the others do not all give way, or the one itself does")
	}
}
