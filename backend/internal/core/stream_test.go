package core

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func (s *stream) String() string {
	return fmt.Sprintf("top %d arrived%v pending%v accounted%v refused%v lost%v missing%v given%v", s.top, s.arrived, s.pending, s.accounted, s.refused, s.lost, s.missing, s.given)
}

func TestStream(t *testing.T) {
	for _, c := range []struct {
		what string
		do   func(s *stream)
		want string
	}{
		{"in order", func(s *stream) { s.queued(1); s.queued(2); s.merged(1, true) }, "top 2 arrived{1} pending{2} accounted{} refused{} lost{} missing{} given{}"},
		{"a number skipped", func(s *stream) { s.queued(1); s.queued(4) }, "top 4 arrived{} pending{1,4} accounted{} refused{} lost{} missing{2-3} given{}"},
		{"it comes late", func(s *stream) { s.queued(3); s.queued(1); s.merged(1, true); s.merged(3, true) }, "top 3 arrived{1,3} pending{} accounted{} refused{} lost{} missing{2} given{}"},
		{"a last number told", func(s *stream) { s.raise(3) }, "top 3 arrived{} pending{} accounted{} refused{} lost{} missing{1-3} given{}"},
		{"no room", func(s *stream) { s.queued(1); s.dropped(2); s.queued(3) }, "top 3 arrived{} pending{1,3} accounted{} refused{} lost{} missing{2} given{}"},
		{"no room for one that an exchange had", func(s *stream) { s.raise(2); s.account(Ranges{{1, 2}}); s.dropped(2) }, "top 2 arrived{} pending{} accounted{1-2} refused{} lost{} missing{} given{}"},
		{"an exchange", func(s *stream) { s.raise(5); s.account(Ranges{{2, 3}}) }, "top 5 arrived{} pending{} accounted{2-3} refused{} lost{} missing{1,4-5} given{}"},
		{"given up", func(s *stream) { s.raise(5); s.given = Ranges{{1, 5}}; s.giveUp(Ranges{{1, 3}}) }, "top 5 arrived{} pending{} accounted{} refused{} lost{1-3} missing{4-5} given{4-5}"},
		{"and it comes after all", func(s *stream) { s.raise(2); s.giveUp(Ranges{{1, 2}}); s.queued(2); s.merged(2, true) }, "top 2 arrived{2} pending{} accounted{} refused{} lost{1} missing{} given{}"},
		{"its origin returns", func(s *stream) { s.raise(2); s.giveUp(Ranges{{1, 2}}); s.reopen() }, "top 2 arrived{} pending{} accounted{} refused{} lost{} missing{1-2} given{}"},
		{"a merge that fails", func(s *stream) { s.queued(1); s.merged(1, false) }, "top 1 arrived{} pending{} accounted{} refused{1} lost{} missing{} given{}"},
		{"and its origin returns", func(s *stream) { s.queued(1); s.merged(1, false); s.reopen() }, "top 1 arrived{} pending{} accounted{} refused{1} lost{} missing{} given{}"},
		{"and an exchange has it", func(s *stream) { s.queued(1); s.merged(1, false); s.account(Ranges{{1, 1}}) }, "top 1 arrived{} pending{} accounted{1} refused{1} lost{} missing{} given{}"},
		{"and one had it before", func(s *stream) { s.queued(1); s.account(Ranges{{1, 1}}); s.merged(1, false) }, "top 1 arrived{} pending{} accounted{1} refused{1} lost{} missing{} given{}"},
		{"and an old last number is told", func(s *stream) { s.queued(2); s.merged(2, false); s.lower(1) }, "top 2 arrived{} pending{} accounted{} refused{2} lost{} missing{1} given{}"},
		{"a false last number", func(s *stream) { s.queued(1); s.raise(1 << 40); s.lower(2) }, "top 2 arrived{} pending{1} accounted{} refused{} lost{} missing{2} given{}"},
		{"an old last number", func(s *stream) { s.queued(3); s.merged(3, true); s.lower(1) }, "top 3 arrived{3} pending{} accounted{} refused{} lost{} missing{1-2} given{}"},
		{"and one that waits", func(s *stream) { s.queued(4); s.lower(3) }, "top 4 arrived{} pending{4} accounted{} refused{} lost{} missing{1-3} given{}"},
		{"told of before it is heard", func(s *stream) { s.account(Ranges{{1, 9}}); s.raise(5) }, "top 5 arrived{} pending{} accounted{1-5} refused{} lost{} missing{} given{}"},
	} {
		s := &stream{}
		c.do(s)
		if got := s.String(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.what, got, c.want)
		}
	}
}

// TestNothingIsCoveredThatWasNotMerged plays updates, drops and exchanges at
// random, beside a plain account of what the state really holds.
func TestNothingIsCoveredThatWasNotMerged(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		s := &stream{}
		queued, held := map[uint64]bool{}, map[uint64]bool{}
		used := uint64(0)
		for range 200 {
			n := 1 + rnd.Uint64N(40)
			switch rnd.IntN(9) {
			case 0, 1, 2:
				if !s.has(n) {
					s.queued(n)
					queued[n] = true
					used = max(used, n)
				}
			case 3, 4:
				if queued[n] {
					delete(queued, n)
					ok := rnd.IntN(5) > 0
					s.merged(n, ok)
					held[n] = held[n] || ok
				}
			case 5:
				if !s.has(n) {
					s.dropped(n)
					used = max(used, n)
				}
			case 6:
				s.raise(n)
				used = max(used, n)
			case 7:
				r := Ranges{{n, n + rnd.Uint64N(5)}}
				s.account(r)
				for k := r[0].First; k <= r[0].Last; k++ {
					held[k] = true
				}
			case 8:
				s.giveUp(Ranges{{n, n + 3}})
			}
			claims := s.claims()
			for k := uint64(1); k <= 45; k++ {
				if claims.Has(k) && (!held[k] || k > used) {
					t.Fatalf("%d is claimed and not held: %v", k, s)
				}
				in := 0
				for _, set := range []Ranges{s.arrived, s.pending, s.refused, s.lost, s.missing} {
					if set.Has(k) {
						in++
					}
				}
				if in > 1 || k <= s.top && in == 0 && !s.accounted.Has(k) {
					t.Fatalf("%d is in %d sets: %v", k, in, s)
				}
			}
		}
	}
}
