package core

import (
	"testing"
	"time"
)

// rounds plays a search whose rounds all end with that many replies, and returns
// when each began and when it was over.
func rounds(replies int) (began []time.Duration, over time.Duration) {
	var s search
	s.begin(0, "gap")
	for now := time.Duration(0); now < time.Hour; {
		began = append(began, now)
		s.replies = replies
		if s.turn(now, 0) {
			return began, now
		}
		now = s.at
	}
	return began, 0
}

func TestSearchEnds(t *testing.T) {
	for _, c := range []struct {
		what    string
		replies int
		rounds  int
		by      time.Duration
	}{
		{"after some rounds that were answered", 1, maxRounds, time.Minute},
		{"after a while, though nobody answers", 0, 10, maxSearch + maxPause},
	} {
		began, over := rounds(c.replies)
		if len(began) != c.rounds || over == 0 || over > c.by {
			t.Errorf("%s: %d rounds, over at %v: %v", c.what, len(began), over, began)
		}
		for i := 1; i < len(began); i++ {
			pause := began[i] - began[i-1]
			if want := min(firstPause<<(i-1), maxPause); pause < want-want/8 || pause > want+want/8 {
				t.Errorf("%s: pause %d is %v, want about %v", c.what, i, pause, want)
			}
		}
	}
}

func TestSearchGoesOn(t *testing.T) {
	var s search
	s.begin(time.Second, "gap")
	s.turn(time.Second, 0)
	at := s.at
	s.begin(1500*time.Millisecond, "join")
	if s.at != at || s.reason != "gap" || s.began != time.Second {
		t.Error("a search that is open begins anew, without its pause")
	}
}

// Whoever has the update among 11 survivors is found within a few seconds: the
// pause is of a round, not of each who is asked.
func TestTheOneThatHasIt(t *testing.T) {
	w := scene(t, `
		config sync=1h
		node a,b,c,d,e,f,g,h,i,j,k,l s
		run 10s
		cut a b,c,d,e,f,g,h,i,j,k
		say a s last
		run 300ms
		kill a
		`)
	has := func() (n int) {
		for _, n2 := range w.nodes[1:] {
			if n2.states["s"].items["last"] {
				n++
			}
		}
		return n
	}
	if has() != 1 {
		t.Fatalf("%d have the update", has())
	}
	w.run(10 * time.Second)
	if has() < 11 {
		t.Errorf("%d of 11 have the update", has())
	}
	if w.count["pull"] > 11*(maxAsked+3) {
		t.Errorf("%d pulls", w.count["pull"])
	}
}

func TestSomebodyWhoIsBusyForEver(t *testing.T) {
	w := scene(t, "config sync=1h\n node a,b,c s\n run 10s\n loses update 2\n say a s lost\n run 400ms\n kill a\n run 1s\n state c s slow=1h")
	clear(w.count)
	w.run(10 * time.Minute)
	if w.count["pull"] > 3*maxRounds {
		t.Errorf("%d pulls of a search that has an end", w.count["pull"])
	}
	for _, name := range []string{"b"} {
		for _, s := range w.node(name).core.states["s"].streams {
			if len(s.missing) > 0 {
				t.Errorf("%s still misses %v", name, s.missing)
			}
		}
	}
}

// While the answer of a busy member may still come, a round gives nothing up.
func TestOwed(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	p.joins("c")
	b := p.roster.get("b")
	p.step(Received{From: "c", Message: &Goodbye{Count: 9, Numbers: []Last{{"s", 1}}}})
	pull := p.next(10 * time.Second)
	if pull.To == "" {
		t.Fatal("nobody is asked")
	}
	p.hears(pull.To, &Answer{For: []Asker{{"a", pull.ID}}, End: true, Items: []AnswerItem{{Key: "s", Outcome: Busy}}})
	st := p.states["s"]
	if !p.asked.owed(st) {
		t.Fatal("nothing is owed")
	}
	st.search.replies, st.search.unsure = 1, false // somebody else has answered since
	p.roundOver(st)
	if lost := p.roster.get("c").streams["s"].lost; len(lost) > 0 {
		t.Fatalf("given up though %s may still answer", b.Name)
	}
}

// What was given up of an origin that did not hear is asked for when it has
// repaired itself.
func TestLostOfTheDeaf(t *testing.T) {
	p := newPair(t, Transport{}, "s")
	beat := func(count uint64, w Worth) {
		p.hears("b", &Heartbeat{Member: Member{Name: "b"}, Count: count, Interval: time.Minute, Worth: w, Numbers: []Last{{"s", 1}}})
	}
	beat(2, Whole)
	s := p.roster.get("b").streams["s"]
	p.giveUp(s, s.missing)
	beat(3, Repairing)
	beat(4, Repairing)
	if len(s.lost) == 0 {
		t.Fatalf("%v", s)
	}
	beat(5, Whole)
	if len(s.lost) > 0 || s.missing.Count() != 1 || !s.listed {
		t.Errorf("%v", s)
	}
}

// A silent member may still have the state; one that leaves need not answer any more.
func TestWhoLeavesNeedNotAnswer(t *testing.T) {
	for _, c := range []struct {
		life life
		want bool
	}{{live, true}, {leaving, false}} {
		p := newPair(t, Transport{}, "s")
		b, st := p.roster.get("b"), p.states["s"]
		st.search.begin(p.now, "test")
		st.compare = true
		p.roster.turn(b, c.life, p.now)
		p.asking(st, b, noReply)
		if st.search.unsure != c.want {
			t.Errorf("of one that is %v: unsure is %v", c.life, st.search.unsure)
		}
	}
}
