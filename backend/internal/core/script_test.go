package core

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

var update = flag.Bool("update", false, "write the transcripts in testdata anew")

// TestTranscripts runs the scripts in testdata. A line that begins with "> " is
// a command; what follows is what the nodes did, with the time since the
// beginning. Heartbeats are left out unless "show beats" asks for them.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := transcript(t, want)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s is not what happens; look at the difference with -update:\n%s", file, firstDifference(string(want), string(got)))
			}
		})
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		a, b := "", ""
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if a != b {
			return fmt.Sprintf("line %d\nwant %s\ngot  %s", i+1, a, b)
		}
	}
	return ""
}

func transcript(t *testing.T, script []byte) []byte {
	var out bytes.Buffer
	w := newWorld(t, &out)
	for line := range strings.Lines(string(script)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "#"), line == "" && out.Len() == 0:
			fmt.Fprintln(&out, line)
		case strings.HasPrefix(line, "> "):
			if out.Len() > 0 && !bytes.HasSuffix(out.Bytes(), []byte("\n\n")) && w.printed {
				fmt.Fprintln(&out)
			}
			w.printed = false
			fmt.Fprintln(&out, line)
			w.do(strings.Fields(line[2:]))
		}
	}
	return out.Bytes()
}

// world is some nodes and the network between them, in virtual time.
type world struct {
	t       *testing.T
	out     *bytes.Buffer
	printed bool
	beats   bool
	quiet   bool
	now     time.Duration
	nodes   []*testNode
	queue   []delivery
	serial  int
	bus     Transport
	cfg     Config
	isCut   map[[2]string]bool
	drops   map[string]int // to: how many frames are still to be lost
	lost    map[string]int // kinds of frames that are lost
	delay   [2]time.Duration
	rand    *rand.Rand
	count   map[string]int              // frames sent, by kind
	notes   map[string]map[NoteKind]int // by node
}

type delivery struct {
	at     time.Duration
	serial int
	run    func()
}

type testNode struct {
	w       *world
	name    string
	core    *Core
	states  map[string]*testState
	stopped bool
	dead    bool
	deaf    bool
	held    []func()
	link    bool
}

type testState struct {
	items   map[string]bool
	slow    time.Duration
	fails   bool
	full    bool
	random  bool
	apart   bool
	gone    map[string]bool // items that are not found any more when they are fetched
	refuses string          // an item that it does not take
	salt    int
	free    time.Duration // when its queue is worked off
}

func (s *testState) marshal() []byte {
	b := []byte(strings.Join(slices.Sorted(maps.Keys(s.items)), ","))
	if s.random {
		s.salt++
	}
	return b
}

// digest is of the whole state, or of its entries.
func (s *testState) digest(apart bool) uint64 {
	h := fnv.New64a()
	if apart {
		h.Write([]byte("entries"))
	}
	h.Write(s.marshal())
	return h.Sum64()
}

func (s *testState) merge(b []byte) {
	for item := range strings.SplitSeq(string(b), ",") {
		if item != "" {
			s.items[item] = true
		}
	}
}

func newWorld(t *testing.T, out *bytes.Buffer) *world {
	return &world{
		t: t, out: out, delay: [2]time.Duration{time.Millisecond, time.Millisecond}, rand: rand.New(rand.NewPCG(1, 2)), isCut: map[[2]string]bool{}, drops: map[string]int{}, lost: map[string]int{}, count: map[string]int{}, notes: map[string]map[NoteKind]int{},
		cfg: Config{Heartbeat: 500 * time.Millisecond, Grace: 10 * time.Second, Settle: 10 * time.Second, Sync: 30 * time.Second},
	}
}

func (w *world) printf(format string, args ...any) {
	if w.quiet {
		return
	}
	w.printed = true
	fmt.Fprintf(w.out, format+"\n", args...)
}

func (w *world) after(d time.Duration, run func()) {
	w.serial++
	w.queue = append(w.queue, delivery{w.now + d, w.serial, run})
}

func (w *world) node(name string) *testNode {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	w.t.Fatalf("no node %q", name)
	return nil
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	end := w.now + d
	for steps := 0; ; steps++ {
		if steps > 200000 {
			w.t.Fatalf("at %v the nodes do not come to rest", w.now)
		}
		at, what := end, func() {}
		i := -1
		for k, q := range w.queue {
			if q.at < at || q.at == at && (i < 0 || q.at < w.queue[i].at || q.at == w.queue[i].at && q.serial < w.queue[i].serial) {
				i, at = k, q.at
			}
		}
		found := i >= 0
		if found {
			what = w.queue[i].run
		}
		for _, n := range w.nodes {
			if wake := max(n.core.Next(), w.now); !n.stopped && !n.dead && wake != Never && (wake < at || wake == at && !found) {
				at, found, i = wake, true, -1
				what = func() { n.step(Tick{}) }
			}
		}
		if !found || at > end {
			w.now = end
			return
		}
		w.now = at
		if i >= 0 {
			w.queue = slices.Delete(w.queue, i, i+1)
		}
		what()
	}
}

func (n *testNode) step(e Event) {
	if n.dead {
		return
	}
	if n.stopped {
		n.held = append(n.held, func() { n.step(e) })
		return
	}
	n.core.Step(n.w.now, e)
	n.carry()
}

// carry carries out what the core wants.
func (n *testNode) carry() {
	for _, e := range n.core.Effects() {
		n.print(e)
		switch e := e.(type) {
		case Send:
			n.w.count[kindOf(e.Message)]++
			n.send(e.To, func(to *testNode) { to.step(Received{From: n.name, Message: e.Message}) }, kindOf(e.Message))
		case Resend:
			for _, u := range e.Updates {
				n.w.count["update"]++
				data := bytes.Clone(u.Data)
				n.send(e.To, func(to *testNode) { to.receive(n.name, u.Key, e.Incarnation, u.Number, data) }, "update")
			}
		case Marshal:
			n.marshal(e)
		case Fetch:
			n.fetch(e)
		case Merge:
			n.merge(e)
		case Closed:
			n.dead = true
		}
	}
}

func (n *testNode) in(st *testState, job func()) {
	st.free = max(st.free, n.w.now) + st.slow
	if st.slow == 0 && st.free == n.w.now {
		job()
		return
	}
	n.w.after(st.free-n.w.now, func() {
		if !n.dead {
			job()
			n.carry()
		}
	})
}

func (n *testNode) marshal(e Marshal) {
	st := n.states[e.Key]
	if st == nil {
		n.core.Step(n.w.now, Marshalled{Job: e.Job, Err: errors.New("no such state")})
		n.carry()
		return
	}
	n.core.Begin(e.Job)
	n.in(st, func() {
		apart := st.apart && !e.Whole
		m := Marshalled{Job: e.Job, Digest: st.digest(apart), HasDigest: !st.random}
		if apart {
			m.Entries = uint64(len(st.items)) + 1
		}
		if wanted := !e.OnlyDigest && !slices.Contains(e.Unless, m.Digest); st.apart && e.Apart && wanted {
			m.View = reconcile.NewView(st.ids(), cmp.Or(e.Salt, 7))
		} else if !e.OnlyDigest && (!m.HasDigest || !slices.Contains(e.Unless, m.Digest)) {
			m.Data = st.marshal()
		}
		if st.fails {
			m = Marshalled{Job: e.Job, Err: errors.New("it fails")}
		}
		n.core.Step(n.w.now, m)
		n.carry()
	})
}

func (s *testState) ids() (ids []reconcile.ID) {
	for item := range s.items {
		var id reconcile.ID
		copy(id[:], item)
		ids = append(ids, id)
	}
	return ids
}

func (n *testNode) fetch(e Fetch) {
	st := n.states[e.Key]
	if st == nil {
		n.step(Fetched{Job: e.Job, Err: errors.New("no such state")})
		return
	}
	n.in(st, func() {
		f := Fetched{Job: e.Job}
		for size := 0; f.Taken < len(e.IDs) && (size < e.Room || f.Taken == 0); f.Taken++ {
			if item := strings.TrimRight(string(e.IDs[f.Taken][:]), "\x00"); !st.gone[item] {
				f.Entries = append(f.Entries, []byte(item))
				size += len(item)
			}
		}
		n.core.Step(n.w.now, f)
		n.carry()
	})
}

func (n *testNode) merge(e Merge) {
	st := n.states[e.Key]
	if st == nil || st.full {
		n.core.Step(n.w.now, Merged{Job: e.Job, Full: true})
		n.carry()
		return
	}
	n.in(st, func() {
		m := Merged{Job: e.Job}
		switch {
		case st.fails:
			m.Err, m.Refused = errors.New("it fails"), len(e.Entries)
		default:
			for _, b := range append(slices.Clone(e.Entries), e.Data) {
				if string(b) == st.refuses && st.refuses != "" {
					m.Err, m.Refused = errors.New("no such thing"), m.Refused+1
				} else {
					st.merge(b)
				}
			}
			m.Digest, m.HasDigest = st.digest(e.Entries != nil), !st.random
		}
		n.core.Step(n.w.now, m)
		n.carry()
	})
}

// send hands a frame to the network.
func (n *testNode) send(to string, deliver func(*testNode), kind string) {
	w := n.w
	if !n.link {
		return
	}
	for _, m := range w.nodes {
		if w.bus.Unicast && to != "" && m.name != to || w.bus.Native && m == n {
			continue
		}
		if w.isCut[[2]string{n.name, m.name}] || m.deaf || !m.link || w.lost[kind] > 0 && m != n {
			if m != n && w.lost[kind] > 0 {
				w.lost[kind]--
			}
			continue
		}
		if w.drops[m.name] > 0 && m != n {
			w.drops[m.name]--
			continue
		}
		delay := w.delay[0]
		if w.delay[1] > w.delay[0] {
			delay += time.Duration(w.rand.Int64N(int64(w.delay[1] - w.delay[0])))
		}
		w.after(delay, func() { deliver(m) })
	}
}

func (n *testNode) receive(from, key string, incarnation uint32, number uint64, data []byte) {
	if n.dead {
		return
	}
	if n.stopped {
		n.held = append(n.held, func() { n.receive(from, key, incarnation, number, data) })
		return
	}
	verdict, ref, _ := n.core.Receive(n.w.now, []byte(from), []byte(key), incarnation, number)
	if verdict == Own {
		n.carry()
		return
	}
	n.w.printf("%s %s %s#%d of %s: %v", n.w.clock(), n.name, key, number, from, [...]string{"deliver", "duplicate", "unknown", "refused", "own"}[verdict])
	if verdict == Deliver {
		st := n.states[key]
		n.core.Queued(n.w.now, ref, !st.full)
		if !st.full {
			n.in(st, func() {
				var err error
				if st.fails {
					err = errors.New("it fails")
				} else {
					st.merge(data)
				}
				n.core.UpdateMerged(n.w.now, ref, err)
			})
		}
	}
	n.carry()
}

func (n *testNode) broadcast(key, item string) {
	n.states[key].items[item] = true
	incarnation, number := n.core.Assign(key, []byte(item))
	n.w.count["update"]++
	n.send("", func(to *testNode) { to.receive(n.name, key, incarnation, number, []byte(item)) }, "update")
	n.core.Sent(n.w.now, key, number)
	n.carry()
}

func (w *world) clock() string { return fmt.Sprintf("%8s", w.now.Round(time.Millisecond)) }

func kindOf(m Message) string {
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", m), "*core."))
}

func (n *testNode) print(e Effect) {
	w := n.w
	switch e := e.(type) {
	case Send:
		if _, ok := e.Message.(*Heartbeat); ok && !w.beats {
			return
		}
		w.printf("%s %s   -> %s %s", w.clock(), n.name, cmp.Or(e.To, "all"), describe(e.Message))
	case Resend:
		for _, u := range e.Updates {
			w.printf("%s %s   -> %s again %s#%d", w.clock(), n.name, cmp.Or(e.To, "all"), u.Key, u.Number)
		}
	case Publish:
		w.printf("%s %s   view %s", w.clock(), n.name, describeView(e.View))
	case StateReady:
		w.printf("%s %s   %s is %v", w.clock(), n.name, e.Key, e.How)
	case Reopen:
		w.printf("%s %s   reopen: %v", w.clock(), n.name, e.Err)
	case Closed:
		w.printf("%s %s   closed", w.clock(), n.name)
	case Note:
		if w.notes[n.name] == nil {
			w.notes[n.name] = map[NoteKind]int{}
		}
		w.notes[n.name][e.Kind]++
		if e.Kind == NoteEcho {
			return
		}
		w.printf("%s %s   note %s", w.clock(), n.name, describeNote(e))
	}
}

func describeNote(e Note) string {
	s := noteNames[e.Kind]
	for _, part := range []string{e.Member.Name, e.Key, e.Text} {
		if part != "" {
			s += " " + part
		}
	}
	if e.Count > 0 {
		s += fmt.Sprintf(" (%d)", e.Count)
	}
	if e.Took > 0 {
		s += fmt.Sprintf(" after %v", e.Took)
	}
	return s
}

var noteNames = [...]string{
	"joined", "left", "failed", "updated", "conflict", "attached", "reattached", "detached", "deaf", "isolated", "stood still", "caught up",
	"disputed", "agreed", "ready", "timed out", "gap", "lost", "ask again", "sent again", "exchange", "answered", "refused", "echo",
	"raised", "rejected", "limited",
}

func describeView(v *View) string {
	var names []string
	for _, m := range v.Members {
		names = append(names, m.Name)
	}
	s := fmt.Sprintf("[%s] at %d, %s, %v", strings.Join(names, " "), v.Position, map[Status]string{Attached: "attached", Detached: "detached"}[v.Status], v.Ready)
	if v.Isolated {
		s += ", isolated"
	}
	if v.Err != nil {
		s += ": " + v.Err.Error()
	}
	if len(v.Unready) > 0 {
		s += "; not ready: " + strings.Join(v.Unready, " ")
	}
	if len(v.Disputed) > 0 {
		s += "; " + strings.Join(v.Disputed, "; ")
	}
	return s
}

func describe(m Message) string {
	s := kindOf(m)
	switch m := m.(type) {
	case *Heartbeat:
		s += fmt.Sprintf(" %d.%d", m.Incarnation, m.Count)
		if m.Like > 0 {
			s += fmt.Sprintf(" like %d", m.Like)
		}
		for _, flag := range []struct {
			on   bool
			name string
		}{{m.Hello, "hello"}, {m.Leaving, "leaving"}, {m.Worth == Whole, "whole"}, {m.Worth == Repairing, "repairing"}} {
			if flag.on {
				s += " " + flag.name
			}
		}
		s += describeLast(m.Numbers)
		for _, d := range m.Departed {
			s += " departed " + d.Instance + describeLast(d.Numbers)
		}
	case *Goodbye:
		s += describeLast(m.Numbers)
	case *Void:
		s += fmt.Sprintf(" %s.%d", m.Instance, m.Incarnation)
	case *List:
		for _, l := range m.Members {
			s += " " + l.Member.Name
		}
	case *Missing:
		for _, w := range m.Wants {
			s += " " + w.Key + w.Numbers.String()
		}
	case *Kept:
		for _, k := range m.Keys {
			s += fmt.Sprintf(" %s last %d", k.Key, k.Last)
			if len(k.Gone) > 0 {
				s += " gone" + k.Gone.String()
			}
		}
	case *Pull:
		s += fmt.Sprintf(" %d", m.ID)
		if m.HasRoot {
			s += fmt.Sprintf(" root of %d", m.Keys)
		}
		for _, it := range m.Items {
			s += " " + it.Key
			if it.All {
				s += " all"
			}
			s += describeNumbers(it.Holes)
		}
	case *Answer:
		s += " to"
		for _, f := range m.For {
			s += fmt.Sprintf(" %s.%d", f.Instance, f.ID)
		}
		for _, it := range m.Items {
			s += fmt.Sprintf(" %s %s", cmp.Or(it.Key, "everything"), [...]string{"equal", "data", "lacking", "busy", "later", "apart"}[it.Outcome])
			if it.Outcome <= Data || it.Outcome == Apart {
				s += " " + [...]string{"joining", "repairing", "whole"}[it.Worth]
			}
			if it.Outcome == Data {
				s += fmt.Sprintf("(%s)", shorten(it.Data))
			}
			s += describeNumbers(it.Numbers)
		}
		if m.Differ {
			s += " differ"
		}
		if m.End {
			s += " end"
		}
	case *Walk:
		s += fmt.Sprintf(" %s %d.%d", m.Key, m.ID, m.Step)
		for _, r := range m.Ask.Splits {
			s += fmt.Sprintf(" split %x", r.First)
		}
		listed := 0
		for _, l := range m.Ask.Lists {
			listed += len(l.Places)
		}
		s += fmt.Sprintf(", %d lists of %d%s", len(m.Ask.Lists), listed, describeEntries(m.Entries))
	case *Walked:
		s += fmt.Sprintf(" %s %d.%d %s, wants %d%s", m.Key, m.For.ID, m.Step, map[Outcome]string{Apart: "apart", Later: "later", Lacking: "lacking"}[m.Outcome], len(m.Reply.Wants), describeEntries(m.Entries))
		if m.Reply.Next != 0 {
			s += ", more"
		}
		if m.Gone {
			s += ", gone"
		}
		if m.Refused > 0 {
			s += fmt.Sprintf(", %d refused", m.Refused)
		}
	case *Push:
		s += fmt.Sprintf(" %s (%s)", m.Key, shorten(m.Data))
	}
	return s
}

func describeEntries(entries [][]byte) string {
	if len(entries) > 0 {
		return fmt.Sprintf(", %d entries (%s)", len(entries), shorten(bytes.Join(entries, []byte(","))))
	}
	return ""
}

func shorten(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%s...%d bytes", b[:20], len(b))
	}
	return string(b)
}

func describeLast(numbers []Last) (s string) {
	for _, l := range numbers {
		s += fmt.Sprintf(" %s#%d", l.Key, l.Number)
	}
	return s
}

func describeNumbers(numbers []Numbers) (s string) {
	for _, n := range numbers {
		s += " " + n.Origin + n.Ranges.String()
	}
	return s
}

func (rs Ranges) String() string {
	var parts []string
	for _, r := range rs {
		if r.First == r.Last {
			parts = append(parts, strconv.FormatUint(r.First, 10))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// do carries out one command.
func (w *world) do(args []string) {
	dur := func(s string) time.Duration {
		d, err := time.ParseDuration(s)
		if err != nil {
			w.t.Fatal(err)
		}
		return d
	}
	num := func(s string) uint64 {
		n, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			w.t.Fatal(err)
		}
		return n
	}
	switch cmd := args[0]; cmd {
	case "transport": // bus, unicast, native: what the transport can do
		w.bus = Transport{Unicast: slices.Contains(args, "unicast"), Native: slices.Contains(args, "native")}
	case "config":
		for _, kv := range args[1:] {
			k, v, _ := strings.Cut(kv, "=")
			switch k {
			case "hold":
				w.cfg.Hold = true
			case "sync":
				w.cfg.Sync = dur(v)
			case "settle":
				w.cfg.Settle = dur(v)
			case "grace":
				w.cfg.Grace = dur(v)
			}
		}
	case "show":
		w.beats, w.quiet = slices.Contains(args, "beats"), slices.Contains(args, "nothing")
	case "node": // node NAME [KEY...]: opens a node with states
		for _, name := range strings.Split(args[1], ",") {
			cfg := w.cfg
			cfg.Self, cfg.Seed = Member{Name: name, Instance: name}, uint64(len(w.nodes)+1)
			n := &testNode{w: w, name: name, core: New(cfg, w.now), states: map[string]*testState{}, link: true}
			w.nodes = append(w.nodes, n)
			for _, key := range args[2:] {
				n.states[key] = &testState{items: map[string]bool{}}
				n.step(StateAdded{Key: key})
			}
		}
		w.list()
		for _, name := range strings.Split(args[1], ",") {
			w.node(name).step(LinkUp{w.bus})
		}
	case "state": // state NAME KEY [slow=D] [fails] [full] [sound]
		n := w.node(args[1])
		st := n.states[args[2]]
		if st == nil {
			st = &testState{items: map[string]bool{}}
			n.states[args[2]] = st
			defer n.step(StateAdded{Key: args[2]})
		}
		for _, a := range args[3:] {
			k, v, _ := strings.Cut(a, "=")
			switch k {
			case "slow":
				st.slow = dur(v)
			case "fails":
				st.fails = true
			case "full":
				st.full = true
			case "random":
				st.random = true
			case "sound":
				*st = testState{items: st.items}
			case "has":
				st.items[v] = true
			case "apart":
				st.apart = true
			case "gone":
				st.gone = map[string]bool{v: true}
			case "refuses":
				st.refuses = v
			case "many": // so many items, from a to b
				from, to, _ := strings.Cut(v, "-")
				for i := num(from); i < num(to); i++ {
					st.items[fmt.Sprint("i", i)] = true
				}
			}
		}
	case "forget": // forget KEY ITEM: the states have it no more, as what was deleted long ago
		for _, n := range w.nodes {
			delete(n.states[args[1]].items, args[2])
		}
	case "remove":
		n := w.node(args[1])
		delete(n.states, args[2])
		n.step(StateRemoved{args[2]})
	case "say": // say NAME KEY ITEM...: broadcasts
		for _, item := range args[3:] {
			w.node(args[1]).broadcast(args[2], item)
		}
	case "lose": // lose NAME N: the next N frames to it are lost
		w.drops[args[1]] = int(num(args[2]))
	case "loses": // loses KIND N: the next N frames of that kind are lost, to anybody
		w.lost[args[1]] = int(num(args[2]))
	case "cut", "heal": // cut A B: nothing of A reaches B
		for _, a := range strings.Split(args[1], ",") {
			for _, b := range strings.Split(args[2], ",") {
				w.isCut[[2]string{a, b}] = cmd == "cut"
				if len(args) > 3 && args[3] == "both" {
					w.isCut[[2]string{b, a}] = cmd == "cut"
				}
			}
		}
		w.list()
	case "deaf", "hears":
		w.node(args[1]).deaf = cmd == "deaf"
	case "down", "up": // the link of a node
		n := w.node(args[1])
		n.link = cmd == "up"
		w.list()
		if n.link {
			n.step(LinkUp{w.bus})
		} else {
			n.step(LinkDown{errors.New("lost")})
		}
	case "stop", "go": // as by SIGSTOP and SIGCONT
		n := w.node(args[1])
		n.stopped = cmd == "stop"
		if !n.stopped {
			if n.core.Late(w.now) {
				n.step(Tick{})
			}
			held := n.held
			n.held = nil
			for _, h := range held {
				h()
			}
		}
	case "left": // the transport says that the member left
		for _, n := range w.nodes {
			n.step(Left{Member{Name: args[1], Instance: args[1]}})
		}
	case "kill":
		w.node(args[1]).dead = true
		w.list()
	case "close":
		n := w.node(args[1])
		n.step(Close{})
		if len(args) == 2 {
			n.step(Flushed{})
		}
	case "flushed":
		w.node(args[1]).step(Flushed{})
	case "forge": // forge TO FROM KIND ...: a frame that FROM did not make
		w.forge(args[1], args[2], args[3], args[4:])
	case "delay": // delay MIN MAX: frames take that long, in any order
		w.delay[0], w.delay[1] = dur(args[1]), dur(args[2])
	case "again": // again NAME EVERY TIMES: its driver says that it is attached again
		for i := range num(args[3]) {
			n := w.node(args[1])
			w.after(time.Duration(i+1)*dur(args[2]), func() { n.step(LinkUp{w.bus}) })
		}
	case "run":
		w.run(dur(args[1]))
	case "has": // what the states of nodes hold
		for _, n := range w.nodes {
			if n.dead {
				continue
			}
			for _, key := range slices.Sorted(maps.Keys(n.states)) {
				w.printed = true
				fmt.Fprintf(w.out, "%s %s %s: %s\n", w.clock(), n.name, key, shorten(n.states[key].marshal()))
			}
		}
	case "views":
		for _, n := range w.nodes {
			if !n.dead {
				w.printed = true
				fmt.Fprintf(w.out, "%s %s %s\n", w.clock(), n.name, describeView(n.core.View()))
			}
		}
	case "count": // how many frames of each kind were sent since the last count
		for _, kind := range slices.Sorted(maps.Keys(w.count)) {
			w.printed = true
			fmt.Fprintf(w.out, "%s %d %s\n", w.clock(), w.count[kind], kind)
		}
		clear(w.count)
	default:
		w.t.Fatalf("no command %q", cmd)
	}
}

// list tells native nodes who is reachable.
func (w *world) list() {
	if !w.bus.Native {
		return
	}
	for _, n := range w.nodes {
		var all []Member
		for _, m := range w.nodes {
			if m == n || m.link && n.link && !m.dead && !w.isCut[[2]string{m.name, n.name}] {
				all = append(all, Member{Name: m.name, Instance: m.name, Addr: m.name + ":1"})
			}
		}
		if n.link {
			n.step(Listed{all})
		}
	}
}

// forge hands a frame to a node, or to all, in somebody's name.
func (w *world) forge(to, from, kind string, args []string) {
	opt := map[string]string{}
	for _, a := range args {
		k, v, _ := strings.Cut(a, "=")
		opt[k] = v
	}
	n := func(key string) uint64 {
		v, _ := strconv.ParseUint(cmp.Or(opt[key], "0"), 0, 64)
		return v
	}
	var numbers []Last
	if opt["key"] != "" {
		numbers = []Last{{opt["key"], n("last")}}
	}
	for _, m := range w.nodes {
		if to != "all" && m.name != to {
			continue
		}
		if kind == "update" {
			m.receive(from, opt["key"], uint32(n("incarnation")), n("number"), []byte(opt["data"]))
			continue
		}
		var msg Message
		switch kind {
		case "heartbeat":
			_, leaving := opt["leaving"]
			msg = &Heartbeat{
				Member: Member{Name: cmp.Or(opt["name"], from)}, Incarnation: uint32(n("incarnation")), Count: n("count"),
				Interval: w.cfg.Heartbeat, Numbers: numbers, Leaving: leaving, Worth: Whole,
			}
		case "goodbye":
			msg = &Goodbye{Incarnation: uint32(n("incarnation")), Count: n("count"), Numbers: numbers}
		case "void":
			msg = &Void{Instance: opt["instance"], Incarnation: uint32(n("incarnation"))}
		case "pull":
			msg = &Pull{To: opt["to"], ID: n("id"), Items: []PullItem{{Key: opt["key"]}}}
		case "missing":
			msg = &Missing{To: opt["to"], Wants: []Want{{opt["key"], 0, Ranges{{n("first"), n("last")}}}}}
		case "kept":
			msg = &Kept{Keys: []KeptKey{{Key: opt["key"], Last: n("last")}}}
		case "walk":
			msg = &Walk{To: opt["to"], ID: n("id"), Key: opt["key"], Step: 1, Ask: reconcile.Request{Lists: []reconcile.List{{Range: reconcile.Range{First: n("first"), Last: n("last")}}}}}
		case "walked":
			answer := &Walked{For: Asker{m.name, n("id")}, Key: opt["key"], Step: n("step"), Outcome: Apart}
			if opt["wants"] != "" {
				answer.Reply.Wants = []uint64{n("wants")}
			}
			msg = answer
		}
		m.step(Received{From: from, Message: msg})
	}
}
