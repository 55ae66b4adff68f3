package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// Victim is what a stranger, who reads the bus, knows of a member in whose name it
// speaks.
type Victim struct {
	Beat    core.Heartbeat // such as the member might say next
	Keys    []string       // of its states
	Members []string       // the instances of all
}

// Forged is a message in the name of From.
type Forged struct {
	From    string
	Message core.Message
}

// forgeries are what a stranger can say. Each goes by what anybody can hear.
var forgeries = map[string]func(v Victim, args []string) []Forged{
	"last":        forgeLast,        // last a s 1099511627776 : a heartbeat with this last number
	"goodbye":     forgeGoodbye,     // goodbye a
	"leaving":     forgeLeaving,     // leaving a : a heartbeat with the leaving mark
	"pulls":       forgePulls,       // pulls a 200
	"names":       forgeNames,       // names a 5000 : heartbeats of members that are not
	"keys":        forgeKeys,        // keys a 300 : numbers of states that are not
	"rename":      forgeRename,      // rename a
	"incarnation": forgeIncarnation, // incarnation a 5 : a heartbeat that is so much above
	"void":        forgeVoid,        // void a [ahead]
	"count":       forgeCount,       // count a : a heartbeat with the highest count
	"list":        forgeList,        // list a 1000 : members that are not
	"kept":        forgeKept,        // kept a s 12345
	"missing":     forgeMissing,     // missing a s 100 : asks for all updates, as often
	"answers":     forgeAnswers,     // answers a 100 : to nothing that was asked
	"departed":    forgeDeparted,    // departed a s 999999
	"walks":       forgeWalks,       // walks a 20 : asks for all entries, as often
}

// Forge returns what the line "stranger kind" has a stranger say, or nothing where
// it is no message.
func Forge(kind string, v Victim, args []string) []Forged {
	if forge := forgeries[kind]; forge != nil {
		return forge(v, args)
	}
	return nil
}

// attacks are what a stranger does besides.
var attacks = map[string]func(w *World, victim *process, args []string){
	"update":   forgeUpdate,   // update a s 17 [incarnation] : an update in a's name
	"again":    forgeAgain,    // again a 100 : its last heartbeat, said once more each second
	"nonsense": forgeNonsense, // nonsense a 100 : random messages
}

// forgeEvery is how often a stranger repeats itself.
const forgeEvery = 500 * time.Millisecond

func stepStranger(w *World, args []string) func() {
	w.each(args[1:2], func(p *process) {
		w.check.honest = false
		w.invented = w.invented || args[0] == "names" || args[0] == "list" || args[0] == "nonsense"
		if attack := attacks[args[0]]; attack != nil {
			attack(w, p, args[2:])
			return
		}
		for _, f := range Forge(args[0], w.victim(p), args[2:]) {
			w.forge(f.From, f.Message)
		}
	})
	return nil
}

func (w *World) victim(p *process) Victim {
	v := Victim{Beat: *w.heartbeat(p), Keys: p.keys}
	for _, q := range w.running() {
		v.Members = append(v.Members, q.instance)
	}
	return v
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

func (v Victim) instance() string { return v.Beat.Member.Instance }

// says is one heartbeat in the victim's name, changed in some way.
func (v Victim) says(change func(beat *core.Heartbeat)) []Forged {
	beat := v.Beat
	change(&beat)
	return []Forged{{v.instance(), &beat}}
}

func forgeLast(v Victim, args []string) []Forged {
	last := uint64(math.MaxUint64 - 1)
	if args[1] != "max" {
		last = natural(args, 1, 1<<40)
	}
	return v.says(func(beat *core.Heartbeat) { beat.Numbers = []core.Last{{Key: args[0], Number: last}} })
}

func forgeGoodbye(v Victim, args []string) []Forged {
	return []Forged{{v.instance(), &core.Goodbye{Incarnation: v.Beat.Incarnation, Count: v.Beat.Count}}}
}

func forgeLeaving(v Victim, args []string) []Forged {
	return v.says(func(beat *core.Heartbeat) { beat.Leaving = true })
}

func forgePulls(v Victim, args []string) (all []Forged) {
	for i := range natural(args, 0, 200) {
		pull := &core.Pull{ID: i + 1}
		for _, key := range v.Keys {
			pull.Items = append(pull.Items, core.PullItem{Key: key, HasDigest: true, Digest: 1, All: true})
		}
		if i%2 == 1 {
			pull.To = v.instance()
		}
		from := "stranger"
		if i%4 == 3 {
			from = v.Members[int(i)%len(v.Members)]
		}
		all = append(all, Forged{from, pull})
	}
	return all
}

func forgeNames(v Victim, args []string) (all []Forged) {
	for i := range natural(args, 0, 5000) {
		name := fmt.Sprintf("0-%d", i)
		member := core.Member{Name: name, Instance: name, Addr: strings.Repeat("x", 200)}
		all = append(all, Forged{name, &core.Heartbeat{Member: member, Count: 1, Interval: time.Minute, Worth: core.Whole}})
	}
	return all
}

func forgeKeys(v Victim, args []string) []Forged {
	return v.says(func(beat *core.Heartbeat) {
		beat.Numbers = slices.Clone(beat.Numbers)
		for i := range natural(args, 0, 300) {
			beat.Numbers = append(beat.Numbers, core.Last{Key: fmt.Sprintf("%s-%d", strings.Repeat("k", 200), i), Number: 5})
		}
	})
}

func forgeRename(v Victim, args []string) []Forged {
	return v.says(func(beat *core.Heartbeat) { beat.Member.Name = "0\x00" + strings.Repeat("n", 1000) })
}

func forgeIncarnation(v Victim, args []string) []Forged {
	return v.says(func(beat *core.Heartbeat) { beat.Incarnation += uint32(natural(args, 0, 1)) })
}

func forgeVoid(v Victim, args []string) []Forged {
	return []Forged{{"stranger", &core.Void{Instance: v.instance(), Incarnation: v.Beat.Incarnation + uint32(natural(args, 0, 0))}}}
}

func forgeCount(v Victim, args []string) []Forged {
	return v.says(func(beat *core.Heartbeat) { beat.Count = math.MaxUint64 })
}

func forgeList(v Victim, args []string) []Forged {
	list := &core.List{}
	for i := range natural(args, 0, 1000) {
		name := fmt.Sprintf("1-%d", i)
		list.Members = append(list.Members, core.ListMember{Member: core.Member{Name: name, Instance: name}, Count: 5, Interval: time.Second, Worth: core.Whole})
	}
	return []Forged{{"stranger", list}, {v.instance(), list}}
}

func forgeKept(v Victim, args []string) []Forged {
	return []Forged{{v.instance(), &core.Kept{
		Incarnation: v.Beat.Incarnation,
		Keys:        []core.KeptKey{{Key: args[0], Last: natural(args, 1, 1<<30), Gone: core.Ranges{{First: 1, Last: 1 << 29}}}},
	}}}
}

func forgeMissing(v Victim, args []string) (all []Forged) {
	for i := range natural(args, 1, 100) {
		from := "stranger"
		if i%2 == 1 {
			from = v.Members[int(i)%len(v.Members)]
		}
		wants := []core.Want{{Key: args[0], Incarnation: v.Beat.Incarnation, Numbers: core.Ranges{{First: 1, Last: 1 << 40}}}}
		all = append(all, Forged{from, &core.Missing{To: v.instance(), Wants: wants}})
	}
	return all
}

func forgeAnswers(v Victim, args []string) (all []Forged) {
	for i := range natural(args, 0, 100) {
		a := &core.Answer{End: i%2 == 0}
		for _, instance := range v.Members {
			a.For = append(a.For, core.Asker{Instance: instance, ID: i})
		}
		for _, key := range v.Keys {
			a.Items = append(a.Items, core.AnswerItem{
				Key: key, Outcome: core.Outcome(i % 5), Worth: core.Whole, HasDigest: true, Digest: i,
				Numbers: []core.Numbers{{Origin: v.instance(), Ranges: core.Ranges{{First: 1, Last: math.MaxUint64}}}},
			})
		}
		all = append(all, Forged{v.instance(), a}, Forged{"stranger", a})
	}
	return all
}

func forgeDeparted(v Victim, args []string) []Forged {
	return v.says(func(beat *core.Heartbeat) {
		last := []core.Last{{Key: args[0], Number: natural(args, 1, 999999)}}
		beat.Departed = []core.Departed{{Instance: "nobody", Numbers: last}}
		for _, instance := range v.Members {
			beat.Departed = append(beat.Departed, core.Departed{Instance: instance, Numbers: last})
		}
	})
}

func forgeWalks(v Victim, args []string) (all []Forged) {
	for i := range min(natural(args, 0, 20), 20) {
		from := v.Members[int(i)%len(v.Members)]
		for _, key := range v.Keys {
			ask := reconcile.Request{Splits: []reconcile.Range{reconcile.Everything}, Lists: []reconcile.List{{Range: reconcile.Everything, Places: []uint64{i}}}}
			all = append(all,
				Forged{from, &core.Pull{To: v.instance(), ID: i + 1, Items: []core.PullItem{{Key: key, HasDigest: true, Digest: 1, Entries: 1}}}},
				Forged{from, &core.Walk{To: v.instance(), ID: i + 1, Key: key, Step: 1, Room: math.MaxUint64, Ask: ask, Entries: [][]byte{nil}}},
				Forged{from, &core.Walked{For: core.Asker{Instance: v.instance(), ID: i}, Key: key, Step: i, Outcome: core.Apart, Entries: [][]byte{nil}}})
		}
	}
	return all
}

func forgeUpdate(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	e := w.newEntry(p, args[0], true)
	u := update{args[0], beat.Incarnation + uint32(natural(args, 2, 0)), natural(args, 1, 1), e}
	w.say("", "forged, of %s: update %+v", p.instance, u)
	w.net.publish("", &frame{from: p.instance, updates: []update{u}, size: 100})
}

func forgeAgain(w *World, p *process, args []string) {
	beat := w.heartbeat(p)
	beat.Count--
	w.times([]string{args[0], forgeEvery.String()}, func() { w.forge(p.instance, beat) })
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
