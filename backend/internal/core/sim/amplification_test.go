package sim

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// paying is the cluster that hostile frames are told to: three nodes that keep ten
// updates each and have a state of 10 kB, and one that has left.
const paying = `restless
timing sync=0
0s start a b c d
1s say a s 10
1s say b s 10
1s say c s 10
1s say d s 10
1s state a s size=10000
1s state b s size=10000
1s state c s size=10000
5s leave d
`

// hostileRow is a row of the table of strangers: tell says one such frame, the i-th of
// some, to all, and returns its bytes.
type hostileRow struct {
	tell func(w *World, i int) (bytes int)
	also string // lines of the scenario: what the frame is about
}

var hostileRows = map[string]hostileRow{
	"heartbeat of an invented name": {tell: func(w *World, i int) int {
		name := fmt.Sprintf("0-%d", i)
		return w.tell(name, &core.Heartbeat{Member: core.Member{Name: name, Instance: name}, Count: 1, Interval: time.Minute, Worth: core.Whole})
	}},
	"heartbeat in a member's name": {tell: func(w *World, i int) int { return w.tellAs(func(b *core.Heartbeat) { b.Count = math.MaxUint64 }) }},
	"a number far above": {tell: func(w *World, i int) int {
		return w.tellAs(func(b *core.Heartbeat) { b.Numbers = []core.Last{{Key: "s", Number: 1<<40 + uint64(i)}} })
	}},
	"a number above 2^62": {tell: func(w *World, i int) int {
		return w.tellAs(func(b *core.Heartbeat) { b.Numbers = []core.Last{{Key: "s", Number: 1<<62 + 1}} })
	}},
	"another name for a member": {tell: func(w *World, i int) int { return w.tellAs(func(b *core.Heartbeat) { b.Member.Name = "0" }) }},
	"goodbye in a member's name": {tell: func(w *World, i int) int {
		beat := w.heartbeat(w.live["a"])
		return w.tell("a.1", &core.Goodbye{Incarnation: beat.Incarnation, Count: beat.Count})
	}},
	"goodbye, updates of strangers": {tell: func(w *World, i int) int {
		from := fmt.Sprintf("stranger-%d", i/2)
		if i%2 == 0 {
			return w.tellUpdate(from, 0, 1<<40)
		}
		return w.tell(from, &core.Goodbye{Count: 1, Numbers: []core.Last{{Key: "s", Number: 1 << 41}}})
	}},
	"update in a member's name": {tell: func(w *World, i int) int {
		return w.tellUpdate("a.1", w.heartbeat(w.live["a"]).Incarnation, 1<<40+uint64(i))
	}},
	"pull without a receiver, or of a stranger": {tell: func(w *World, i int) int {
		return w.tell("stranger", &core.Pull{To: [...]string{"", "a.1"}[i%2], ID: uint64(i), Items: []core.PullItem{{Key: "s", All: true}}})
	}},
	"pull of a member": {tell: func(w *World, i int) int {
		return w.tell("b.1", &core.Pull{To: "a.1", ID: 1000 + uint64(i), Items: []core.PullItem{{Key: "s", All: true}}})
	}},
	"answer that was not asked for": {tell: func(w *World, i int) int {
		return w.tell("a.1", &core.Answer{For: []core.Asker{{Instance: "b.1", ID: 1000 + uint64(i)}}, End: true, Items: []core.AnswerItem{
			{Key: "s", Outcome: core.Data, Worth: core.Whole, HasDigest: true, Digest: 1, Data: make([]byte, 8)},
		}})
	}},
	"push": {tell: func(w *World, i int) int {
		var news set
		news.add(w.newEntry(nil, "s", true))
		return w.tell("b.1", &core.Push{To: "a.1", Key: "s", Digest: uint64(i), Data: news.encode(0)})
	}},
	"step of a walk, of a member": {tell: func(w *World, i int) int {
		return w.tell("b.1", &core.Walk{To: "a.1", ID: uint64(i), Key: "s", Step: 1, Room: 1 << 20, Ask: reconcile.Request{Lists: []reconcile.List{{Range: reconcile.Everything}}}})
	}},
	"missing": {tell: func(w *World, i int) int {
		return w.tell("b.1", &core.Missing{To: "a.1", Wants: []core.Want{
			{Key: "s", Incarnation: w.heartbeat(w.live["a"]).Incarnation, Numbers: core.Ranges{{First: 1, Last: 1 << 40}}},
		}})
	}},
	"kept in a member's name": {also: "19.6s for 100ms cut a | b\n19.65s say a s", tell: func(w *World, i int) int {
		return w.tell("a.1", &core.Kept{Incarnation: w.heartbeat(w.live["a"]).Incarnation, Keys: []core.KeptKey{
			{Key: "s", Last: 11, Gone: core.Ranges{{First: 1, Last: 1 << 29}}},
		}})
	}},
	"numbers of the departed, in a member's heartbeat": {tell: func(w *World, i int) int {
		return w.tellAs(func(b *core.Heartbeat) {
			b.Departed = []core.Departed{{Instance: "d.1", Numbers: []core.Last{{Key: "s", Number: 1<<40 + uint64(i)}}}}
		})
	}},
	"list request": {tell: func(w *World, i int) int { return w.tell("b.1", &core.ListRequest{To: "a.1"}) }},
	"piece of a frame": {tell: func(w *World, i int) int {
		for _, p := range w.running() {
			p.step(core.Progress{From: "a.1"})
		}
		return 1000
	}},
	"list": {tell: func(w *World, i int) int {
		name := fmt.Sprintf("1-%d", i)
		return w.tell("b.1", &core.List{Members: []core.ListMember{{Member: core.Member{Name: name, Instance: name}, Count: 5, Interval: time.Second, Worth: core.Whole}}})
	}},
	"void": {tell: func(w *World, i int) int {
		return w.tell("b.1", &core.Void{Instance: "a.1", Incarnation: w.heartbeat(w.live["a"]).Incarnation})
	}},
	"answer with false numbers (of a member)": {also: "timing sync=1s", tell: func(w *World, i int) int {
		answer := &core.Answer{End: true, Items: []core.AnswerItem{
			{Key: "s", Outcome: core.Equal, Worth: core.Whole, Numbers: []core.Numbers{{Origin: "c.1", Ranges: core.Ranges{{First: 1, Last: 1 << 40}}}}},
		}}
		for id := range uint64(50) {
			answer.For = append(answer.For, core.Asker{Instance: "a.1", ID: id})
		}
		return w.tell("b.1", answer)
	}},
}

func (w *World) tell(from string, m core.Message) (bytes int) {
	w.forge(from, m)
	return sizeOf(m)
}

// tellAs says what a might say next, changed in some way.
func (w *World) tellAs(change func(beat *core.Heartbeat)) (bytes int) {
	beat := w.heartbeat(w.live["a"])
	change(beat)
	return w.tell("a.1", beat)
}

func (w *World) tellUpdate(from string, incarnation uint32, number uint64) (bytes int) {
	f := &frame{from: from, updates: []update{{"s", incarnation, number, w.newEntry(nil, "s", true)}}, size: 160}
	w.net.publish("", f)
	return f.size
}

// named are the words by which the table names the frames that others cause.
var named = map[string]string{
	"Heartbeat": "incarnation", "Void": "void", "List": "list", "ListRequest": "list request", "Missing": "missing", "Kept": "kept", "Pull": "pull",
	"Answer": "state", "Walked": "answer", "Push": "push", "updates": "update",
}

// caused plays the frames, each 100 ms after the one before, and returns what the cluster
// publishes because of them, a byte of theirs, and what that is.
func (row hostileRow) caused(t *testing.T, times int) (amplification float64, kinds []string) {
	t.Helper()
	said := 0
	play := func(times int) map[string]float64 {
		s, err := Parse(paying + row.also)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(s)
		for _, step := range s.Steps {
			w.schedule(step)
		}
		w.run(20 * time.Second)
		w.check.honest, w.invented = false, true
		clear(w.tally.counts)
		for i := range times {
			w.after(time.Duration(i)*100*time.Millisecond, func() { said += row.tell(w, i) })
		}
		w.run(time.Minute)
		if w.failure != nil {
			t.Error(w.failure)
		}
		return w.tally.counts
	}
	with, without := play(times), play(0)
	for kind := range named {
		if with[kind] > without[kind] {
			kinds = append(kinds, kind)
		}
	}
	return (with["bytes"] - without["bytes"]) / float64(said), kinds
}

// TestAmplificationOfTheDocument holds the second column of the table of strangers to what
// a cluster pays: by one frame, and by each of a hundred.
func TestAmplificationOfTheDocument(t *testing.T) {
	rows := 0
	for _, cells := range strangersOfTheDocument(t) {
		row, ok := hostileRows[cells[0]]
		if !ok {
			continue
		}
		rows++
		figures, words, _ := strings.Cut(cells[1], ": ")
		once, hundred, _ := strings.Cut(figures, ", ")
		for times, said := range map[int]string{1: once, 100: hundred} {
			got, kinds := row.caused(t, times)
			want, err := strconv.ParseFloat(strings.Replace(said, "none", "0", 1), 64)
			if err != nil && times == 100 && once == "none" {
				want, err = 0, nil
			}
			if err != nil || math.Abs(got-want) > max(0.2*want, 0.05) {
				t.Errorf("%s, %d times: the document says %q, and it is %.2g, of %q", cells[0], times, cells[1], got, kinds)
			}
			for _, kind := range kinds {
				if times == 1 && !strings.Contains(words, named[kind]) {
					t.Errorf("%s: it causes %s, and the document says %q", cells[0], kind, cells[1])
				}
			}
		}
	}
	if rows != len(hostileRows) {
		t.Errorf("the document has %d of %d rows", rows, len(hostileRows))
	}
}
