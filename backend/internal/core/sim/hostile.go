package sim

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// attacks are what a stranger can do, who reads the bus and writes to it.
var attacks = map[string]func(w *World, victim *process, args []string){
	"last":        forgeLast,        // last a s 1099511627776 : a heartbeat with this last number
	"goodbye":     forgeGoodbye,     // goodbye a
	"leaving":     forgeLeaving,     // leaving a : a heartbeat with the leaving mark
	"pulls":       forgePulls,       // pulls a 200
	"names":       forgeNames,       // names a 5000 : heartbeats of members that are not
	"keys":        forgeKeys,        // keys a 300 : numbers of states that are not
	"rename":      forgeRename,      // rename a
	"update":      forgeUpdate,      // update a s 17 [incarnation] : an update in a's name
	"incarnation": forgeIncarnation, // incarnation a 5 : a heartbeat that is so much above
	"void":        forgeVoid,        // void a [ahead]
	"count":       forgeCount,       // count a : a heartbeat with the highest count
	"again":       forgeAgain,       // again a 100 : its last heartbeat, said once more each second
	"list":        forgeList,        // list a 1000 : members that are not
	"kept":        forgeKept,        // kept a s 12345
	"missing":     forgeMissing,     // missing a s 100 : asks for all updates, as often
	"answers":     forgeAnswers,     // answers a 100 : to nothing that was asked
	"departed":    forgeDeparted,    // departed a s 999999
	"nonsense":    forgeNonsense,    // nonsense a 100 : random messages
}

// forgeEvery is how often a stranger repeats itself.
const forgeEvery = 500 * time.Millisecond

func stepStranger(w *World, args []string) func() {
	w.each(args[1:2], func(p *process) {
		w.check.honest = false
		w.invented = w.invented || args[0] == "names" || args[0] == "list" || args[0] == "nonsense"
		attacks[args[0]](w, p, args[2:])
	})
	return nil
}

// forge publishes a message in the name of an instance.
func (w *World) forge(from string, m core.Message) {
	w.say("", "forged, of %s: %s", from, describe(m))
	if w.net.up && !w.net.hung {
		w.net.publish("", &frame{from: from, message: m, size: sizeOf(m)})
	}
}

// heartbeat returns one such as p might say next.
func (w *World) heartbeat(p *process) *core.Heartbeat {
	beat := core.Heartbeat{Member: p.member(), Interval: w.scenario.Timing.Heartbeat, Count: 1, Worth: core.Whole}
	if last := w.net.beats[p.instance]; last != nil {
		beat = *last
		beat.Count++
	}
	return &beat
}

func natural(args []string, i int, otherwise uint64) uint64 {
	if i >= len(args) {
		return otherwise
	}
	return uint64(part(args[i]))
}

func forgeLast(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	last := uint64(math.MaxUint64 - 1)
	if args[1] != "max" {
		last = natural(args, 1, 1<<40)
	}
	beat.Numbers = []core.Last{{Key: args[0], Number: last}}
	w.forge(p.instance, beat)
}

func forgeGoodbye(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	w.forge(p.instance, &core.Goodbye{Incarnation: beat.Incarnation, Count: beat.Count})
}

func forgeLeaving(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	beat.Leaving = true
	w.forge(p.instance, beat)
}

func forgePulls(w *World, p *process, args []string) {
	for i := range natural(args, 0, 200) {
		pull := &core.Pull{ID: i + 1}
		for _, key := range p.keys {
			pull.Items = append(pull.Items, core.PullItem{Key: key, HasDigest: true, Digest: 1, All: true})
		}
		if i%2 == 1 {
			pull.To = p.instance
		}
		from := "stranger"
		if others := w.running(); i%4 == 3 {
			from = others[int(i)%len(others)].instance
		}
		w.forge(from, pull)
	}
}

func forgeNames(w *World, p *process, args []string) {
	for i := range natural(args, 0, 5000) {
		name := fmt.Sprintf("0-%d", i)
		w.forge(name, &core.Heartbeat{Member: core.Member{Name: name, Instance: name, Addr: strings.Repeat("x", 200)}, Count: 1, Interval: time.Minute, Worth: core.Whole})
	}
}

func forgeKeys(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	for i := range natural(args, 0, 300) {
		beat.Numbers = append(beat.Numbers, core.Last{Key: fmt.Sprintf("%s-%d", strings.Repeat("k", 200), i), Number: 5})
	}
	w.forge(p.instance, beat)
}

func forgeRename(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	beat.Member.Name = "0\x00" + strings.Repeat("n", 1000)
	w.forge(p.instance, beat)
}

func forgeUpdate(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	e := w.newEntry(p, args[0], true)
	u := update{args[0], beat.Incarnation + uint32(natural(args, 2, 0)), natural(args, 1, 1), e}
	w.say("", "forged, of %s: update %+v", p.instance, u)
	w.net.publish("", &frame{from: p.instance, updates: []update{u}, size: 100})
}

func forgeIncarnation(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	beat.Incarnation += uint32(natural(args, 0, 1))
	w.forge(p.instance, beat)
}

func forgeVoid(w *World, p *process, args []string) {
	w.forge("stranger", &core.Void{Instance: p.instance, Incarnation: w.heartbeat(p).Incarnation + uint32(natural(args, 0, 0))})
}

func forgeCount(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	beat.Count = math.MaxUint64
	w.forge(p.instance, beat)
}

func forgeAgain(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	beat.Count--
	w.times([]string{args[0], forgeEvery.String()}, func() { w.forge(p.instance, beat) })
}

func forgeList(w *World, p *process, args []string) {
	list := &core.List{}
	for i := range natural(args, 0, 1000) {
		name := fmt.Sprintf("1-%d", i)
		list.Members = append(list.Members, core.ListMember{Member: core.Member{Name: name, Instance: name}, Count: 5, Interval: time.Second, Worth: core.Whole})
	}
	w.forge("stranger", list)
	w.forge(p.instance, list)
}

func forgeKept(w *World, p *process, args []string) {
	w.forge(p.instance, &core.Kept{
		Incarnation: w.heartbeat(p).Incarnation,
		Keys:        []core.KeptKey{{Key: args[0], Last: natural(args, 1, 1<<30), Gone: core.Ranges{{First: 1, Last: 1 << 29}}}},
	})
}

func forgeMissing(w *World, p *process, args []string) {
	for i := range natural(args, 1, 100) {
		from := "stranger"
		if others := w.running(); i%2 == 1 {
			from = others[int(i)%len(others)].instance
		}
		w.forge(from, &core.Missing{To: p.instance, Wants: []core.Want{{Key: args[0], Incarnation: w.heartbeat(p).Incarnation, Numbers: core.Ranges{{First: 1, Last: 1 << 40}}}}})
	}
}

func forgeAnswers(w *World, p *process, args []string) {
	for i := range natural(args, 0, 100) {
		a := &core.Answer{End: i%2 == 0}
		for _, q := range w.running() {
			a.For = append(a.For, core.Asker{Instance: q.instance, ID: i})
		}
		for _, key := range p.keys {
			a.Items = append(a.Items, core.AnswerItem{
				Key: key, Outcome: core.Outcome(i % 5), Worth: core.Whole, HasDigest: true, Digest: i,
				Numbers: []core.Numbers{{Origin: p.instance, Ranges: core.Ranges{{First: 1, Last: math.MaxUint64}}}},
			})
		}
		w.forge(p.instance, a)
		w.forge("stranger", a)
	}
}

func forgeDeparted(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	beat.Departed = []core.Departed{{Instance: "nobody", Numbers: []core.Last{{Key: args[0], Number: natural(args, 1, 999999)}}}}
	for _, q := range w.running() {
		beat.Departed = append(beat.Departed, core.Departed{Instance: q.instance, Numbers: []core.Last{{Key: args[0], Number: natural(args, 1, 999999)}}})
	}
	w.forge(p.instance, beat)
}

func forgeNonsense(w *World, p *process, args []string) {
	for range natural(args, 0, 100) {
		from := "stranger"
		if all := w.running(); w.chance(0.8) {
			from = all[w.rand.IntN(len(all))].instance
		}
		w.forge(from, w.nonsense())
	}
}

// stepMad has all that a process sends be nonsense.
func stepMad(w *World, args []string) func() {
	w.each(args, func(p *process) { p.mad = true })
	w.check.honest = false
	w.invented = true
	return func() { w.each(args, func(p *process) { p.mad = false }) }
}
