package core

import (
	"testing"
	"time"
)

// What is for a member whose heartbeats do not say that it hears what is for it alone
// goes to all, and says whom it is for.
func TestWhoDoesNotHearWhatIsForItAlone(t *testing.T) {
	for _, alone := range []bool{true, false} {
		p := newPair(t, Transport{Unicast: true}, "s")
		p.step(Received{From: "b", Message: &Heartbeat{Member: Member{Name: "b"}, Count: 2, Interval: time.Minute, Worth: Whole, Alone: alone}})
		p.sent = nil
		p.hears("b", &Pull{To: "a", ID: 1, Items: []PullItem{{Key: "s"}}})
		p.after(time.Second)
		to := map[bool]string{true: "b", false: ""}[alone]
		answers := 0
		for _, e := range p.sent {
			if s, ok := e.(Send); ok {
				if a, ok := s.Message.(*Answer); ok {
					answers++
					if s.To != to || len(a.For) != 1 || a.For[0].Instance != "b" {
						t.Errorf("alone %v: the answer for %v is sent to %q", alone, a.For, s.To)
					}
				}
			}
		}
		if answers == 0 {
			t.Errorf("alone %v: there is no answer", alone)
		}
	}
}
