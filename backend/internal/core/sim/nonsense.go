package sim

import (
	"math"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// nonsense returns a random message, about real things and such as do not exist.
func (w *World) nonsense() core.Message {
	instance := func() string {
		if w.chance(0.8) && len(w.procs) > 0 {
			return w.procs[w.rand.IntN(len(w.procs))].instance
		}
		return [...]string{"", "x", "nobody.7"}[w.rand.IntN(3)]
	}
	key := func() string {
		if w.chance(0.8) {
			return w.scenario.Keys[w.rand.IntN(len(w.scenario.Keys))]
		}
		return [...]string{"", "none"}[w.rand.IntN(2)]
	}
	big := func() uint64 {
		switch w.rand.IntN(5) {
		case 0:
			return 0
		case 1:
			return math.MaxUint64 - uint64(w.rand.IntN(2))
		case 2:
			return 1 << w.rand.IntN(64)
		default:
			return uint64(w.rand.IntN(50))
		}
	}
	ranges := func() (all core.Ranges) {
		for range w.rand.IntN(4) {
			all = append(all, core.Range{First: big(), Last: big()})
		}
		return all
	}
	lasts := func() (all []core.Last) {
		for range w.rand.IntN(3) {
			all = append(all, core.Last{Key: key(), Number: big()})
		}
		return all
	}
	numbers := func() (all []core.Numbers) {
		for range w.rand.IntN(3) {
			all = append(all, core.Numbers{Origin: instance(), Incarnation: uint32(big()), Ranges: ranges()})
		}
		return all
	}
	words := func() (all []uint64) {
		for range w.rand.IntN(4) {
			all = append(all, big())
		}
		return all
	}
	member := func() core.Member {
		id := instance()
		return core.Member{Name: id, Instance: id, Addr: "nowhere"}
	}
	duration := func() time.Duration { return time.Duration(big()) }
	coin := func() bool { return w.chance(0.5) }
	worth := func() core.Worth { return core.Worth(w.rand.IntN(5)) }
	small := func() uint32 {
		if w.chance(0.7) {
			return 0
		}
		return uint32(big())
	}
	switch w.rand.IntN(12) {
	case 0:
		beat := &core.Heartbeat{
			Member: member(), Incarnation: small(), Count: big(), Interval: duration(), Hello: coin(), Leaving: coin(), Worth: worth(), KeySet: big(),
			View: core.ViewDigest{Hash: big(), Count: big()}, Numbers: lasts(),
		}
		for range w.rand.IntN(3) {
			beat.Departed = append(beat.Departed, core.Departed{Instance: instance(), Incarnation: small(), Numbers: lasts()})
		}
		if beat.Hello && beat.Leaving && beat.Count > 8 { // a short one
			beat.Like, beat.Hello, beat.Leaving = beat.Count-1-beat.KeySet%8, false, false
		}
		return beat
	case 1:
		return &core.Goodbye{Incarnation: small(), Count: big(), Numbers: lasts()}
	case 2:
		return &core.Void{Instance: instance(), Incarnation: small()}
	case 3:
		list := &core.List{To: instance()}
		for range w.rand.IntN(4) {
			list.Members = append(list.Members, core.ListMember{Member: member(), Incarnation: small(), Count: big(), Interval: duration(), Worth: worth(), KeySet: big()})
		}
		return list
	case 4:
		return &core.ListRequest{To: instance()}
	case 5:
		m := &core.Missing{To: instance()}
		for range w.rand.IntN(3) {
			m.Wants = append(m.Wants, core.Want{Key: key(), Incarnation: small(), Numbers: ranges()})
		}
		return m
	case 6:
		m := &core.Kept{Incarnation: small()}
		for range w.rand.IntN(3) {
			m.Keys = append(m.Keys, core.KeptKey{Key: key(), Last: big(), Gone: ranges()})
		}
		return m
	case 7:
		m := &core.Pull{To: instance(), ID: big(), HasRoot: coin(), Root: big(), Keys: big()}
		for range w.rand.IntN(3) {
			m.Items = append(m.Items, core.PullItem{Key: key(), HasDigest: coin(), Digest: big(), Holes: numbers(), All: coin(), Entries: big()})
		}
		return m
	case 8:
		m := &core.Answer{For: []core.Asker{{Instance: instance(), ID: big()}}, Differ: coin(), End: coin(), Sent: []string{key()}}
		for range w.rand.IntN(3) {
			m.Items = append(m.Items, core.AnswerItem{Key: key(), Outcome: core.Outcome(w.rand.IntN(7)), Worth: worth(), HasDigest: coin(), Digest: big(), Data: []byte{1}, Numbers: numbers(), Salt: big(), Sketch: words()})
		}
		return m
	case 9:
		m := &core.Walk{To: instance(), ID: big(), Key: key(), Step: big(), Room: big(), More: coin()}
		for range w.rand.IntN(3) {
			m.Ask.Lists = append(m.Ask.Lists, reconcile.List{Range: reconcile.Range{First: big(), Last: big()}, Places: words()})
			m.Ask.Splits = append(m.Ask.Splits, reconcile.Range{First: big(), Last: big()})
			m.Entries = append(m.Entries, []byte{0, 0, 0, 0})
		}
		return m
	case 10:
		return &core.Walked{
			For: core.Asker{Instance: instance(), ID: big()}, Key: key(), Step: big(), Outcome: core.Outcome(w.rand.IntN(7)), Gone: coin(), Refused: big(),
			Reply: reconcile.Reply{Prints: words(), Wants: words(), Next: big()}, Entries: [][]byte{{0, 0, 0, 0}},
		}
	default:
		return &core.Push{To: instance(), Key: key(), Digest: big(), Data: []byte{0, 0, 0, 0}}
	}
}
