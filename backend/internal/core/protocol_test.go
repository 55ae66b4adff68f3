package core

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// scene runs commands of a transcript without writing it.
func scene(t *testing.T, lines string) *world {
	t.Helper()
	w := newWorld(t, new(bytes.Buffer))
	w.quiet = true
	w.play(lines)
	return w
}

func (w *world) play(lines string) {
	for line := range strings.SplitSeq(lines, "\n") {
		if f := strings.Fields(line); len(f) > 0 {
			w.do(f)
		}
	}
}

func (w *world) readiness(name, key string) Readiness { return w.node(name).core.states[key].ready }

// twoOld is a cluster that a joiner finds.
const twoOld = `
	node a,b s
	run 5s
	state a s has=x
	state b s has=x
	`

// waitReady is the table of docs/protocol.md: what a joiner j waits for.
var waitReady = map[string]struct {
	script string
	ready  time.Duration // from the opening of j, at most
	how    Readiness
	keys   string
}{
	"no state":                  {script: twoOld + "node j", ready: 100 * time.Millisecond, how: Synced},
	"no state, alone":           {script: "node j", ready: 600 * time.Millisecond, how: Alone},
	"alone":                     {script: "node j s", ready: 600 * time.Millisecond, how: Alone, keys: "s"},
	"one":                       {script: twoOld + "node j s", ready: 200 * time.Millisecond, how: Synced, keys: "s"},
	"many":                      {script: twoOld + "node j s t u v w x y", ready: 400 * time.Millisecond, how: Synced, keys: "s t u v w x y"},
	"one that all lack":         {script: twoOld + "node j new", ready: 400 * time.Millisecond, how: Synced, keys: "new"},
	"one of two old ones has":   {script: twoOld + "state b new has=x\n run 3s\n node j s new", ready: 400 * time.Millisecond, how: Synced, keys: "s new"},
	"its members are stuck":     {script: twoOld + "state a s slow=1h\n state b s slow=1h\n node j s", ready: 10 * time.Second, how: TimedOut, keys: "s"},
	"one of its members is":     {script: twoOld + "state a s slow=1h\n node j s", ready: 3 * time.Second, how: Synced, keys: "s"},
	"its members are silent":    {script: twoOld + "loses answer 1000\n node j s", ready: 10 * time.Second, how: TimedOut, keys: "s"},
	"all start at once":         {script: "node a,b,j s", ready: 3600 * time.Millisecond, how: Synced, keys: "s"},
	"beside one old node":       {script: "node a s\n run 2s\n state a s has=x\n node b,c,d,e,j s", ready: 400 * time.Millisecond, how: Synced, keys: "s"},
	"detached":                  {script: twoOld + "node j s\n down j", ready: 10 * time.Second, how: TimedOut, keys: "s"},
	"native":                    {script: "transport native unicast" + twoOld + "node j s", ready: 200 * time.Millisecond, how: Synced, keys: "s"},
	"native, alone":             {script: "transport native unicast\n node j s", ready: time.Millisecond, how: Alone, keys: "s"},
	"its data cannot be merged": {script: twoOld + "node j s\n state j s fails", ready: 10 * time.Second, how: TimedOut, keys: "s"},
}

func TestWaitReady(t *testing.T) {
	for name, c := range waitReady {
		t.Run(name, func(t *testing.T) {
			w := scene(t, c.script)
			j, began := w.node("j"), w.now
			for j.core.View().Ready == Settling && w.now < began+30*time.Second {
				w.run(time.Millisecond)
			}
			if got := j.core.View().Ready; got != c.how || w.now-began > c.ready+2*time.Millisecond {
				t.Errorf("%v after %v, want %v within %v", got, w.now-began, c.how, c.ready)
			}
			var unready []string
			for key := range strings.FieldsSeq(c.keys) {
				if how := w.readiness("j", key); how != c.how {
					t.Errorf("%s is %v", key, how)
				}
				if c.how == TimedOut {
					unready = append(unready, key)
				}
			}
			if got := j.core.View().Unready; !slices.Equal(got, unready) {
				t.Errorf("the view names %v, want %v", got, unready)
			}
		})
	}
}

// What happens to a joiner beside the rows of the table: it is ready as soon as it can be,
// and what it waited for is not waited for when it cannot come any more.
func TestNeighboursOfWaitReady(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		ready  time.Duration // from the end of the script, at most
		how    Readiness
	}{
		"detached at first":                         {twoOld + "node j s\n down j\n run 2s\n up j", 200 * time.Millisecond, Synced},
		"all others are detached":                   {twoOld + "down a\n down b\n run 1s\n node j s", 600 * time.Millisecond, Alone},
		"a state that is stuck is removed":          {twoOld + "state a t slow=1h\n state b t slow=1h\n run 1s\n node j s t\n run 1s\n remove j t", 50 * time.Millisecond, Synced},
		"who was asked crashes, and another has it": {twoOld + "state a s slow=2s\n state b s slow=300ms\n node j s\n run 100ms\n kill b", 2500 * time.Millisecond, Synced},
		"who was asked crashes, and nobody has it":  {"node a s\n run 5s\n state a s slow=2s\n node j s\n run 1s\n kill a", 3 * time.Second, Alone},
		"who was asked leaves":                      {twoOld + "close a\n node j s", 200 * time.Millisecond, Synced},
		"the others begin a moment later":           {"node j s\n run 100ms\n node a,b s", 3600 * time.Millisecond, Synced},
		"one of those that lack it is stuck":        {twoOld + "node c s\n run 3s\n state c s slow=1h\n node j s new", 400 * time.Millisecond, Synced},
		"no list comes":                             {twoOld + "loses list 10\n node j s", time.Second, Synced},
		"a merge fails for a moment":                {twoOld + "node j s\n state j s fails\n run 1s\n state j s sound", time.Second, Synced},
		"it stood still":                            {twoOld + "node j s\n stop j\n run 20s\n go j", 200 * time.Millisecond, Synced},
		"native, and one is stuck":                  {"transport native unicast" + twoOld + "state a s slow=1h\n node j s", 3 * time.Second, Synced},
		"native, and all start at once":             {"transport native unicast\n node a,b,j s", 3600 * time.Millisecond, Synced},
		"five start at once":                        {"transport unicast\n node a,b,c,d,j s", 3600 * time.Millisecond, Synced},
	} {
		w := scene(t, c.script)
		j, began := w.node("j"), w.now
		for j.core.View().Ready == Settling && w.now < began+30*time.Second {
			w.run(time.Millisecond)
		}
		if v := j.core.View(); v.Ready != c.how || w.now-began > c.ready || len(v.Unready) > 0 {
			t.Errorf("%s: %v after %v without %v, want %v within %v", name, v.Ready, w.now-began, v.Unready, c.how, c.ready)
		}
	}
}

// A state that is added later has a limit of its own, and becomes ready after it
// too.
func TestLateStates(t *testing.T) {
	w := scene(t, "node a,b s\n run 5s\n state a t slow=12s\n state a u\n run 30s\n state b t\n state b u")
	w.run(time.Second)
	if got := w.readiness("b", "u"); got != Synced {
		t.Errorf("u is %v: it waits for t", got)
	}
	w.run(8900 * time.Millisecond)
	if got := w.readiness("b", "t"); got != Settling {
		t.Errorf("t is %v before its limit", got)
	}
	w.run(200 * time.Millisecond)
	if got := w.readiness("b", "t"); got != TimedOut {
		t.Errorf("t is %v after its limit", got)
	}
	w.run(10 * time.Second)
	if got := w.readiness("b", "t"); got != Synced {
		t.Errorf("t is %v though its member has answered", got)
	}
}

// Many small states reach a joiner, all of them.
func TestManyStates(t *testing.T) {
	w := scene(t, "")
	var keys strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&keys, " k%d", i)
	}
	w.play("node a" + keys.String() + "\n run 2s")
	for key, st := range w.node("a").states {
		st.items["of-"+key] = true
	}
	w.play("node b" + keys.String() + "\n run 1s")
	for key, st := range w.node("b").states {
		if !st.items["of-"+key] {
			t.Fatalf("%s is missing", key)
		}
	}
	if got := w.node("b").core.View().Ready; got != Synced {
		t.Errorf("%v", got)
	}
	clear(w.count)
	w.run(time.Minute)
	if w.count["pull"] > 5 || w.count["answer"] > 5 {
		t.Errorf("equal states cost %v", w.count)
	}
}

// 50 joiners at once on a bus are served by one answer, or a few.
func TestManyJoiners(t *testing.T) {
	w := scene(t, "node a,b s\n run 5s\n state a s has=x\n state b s has=x")
	clear(w.count)
	var names []string
	for i := range 50 {
		names = append(names, fmt.Sprintf("j%02d", i))
	}
	w.play("node " + strings.Join(names, ",") + " s\n run 2s")
	for _, name := range names {
		n := w.node(name)
		if !n.states["s"].items["x"] || n.core.View().Ready != Synced || len(n.core.View().Members) != 52 {
			t.Fatalf("%s: %v", name, describeView(n.core.View()))
		}
	}
	if w.count["answer"] > 10 {
		t.Errorf("%d answers", w.count["answer"])
	}
}

// 1 % of loss at 20 updates a second moves no state.
func TestLossMovesNoState(t *testing.T) {
	w := scene(t, "config sync=1h\n node a,b,c,d s\n run 5s")
	clear(w.count)
	for i := range 20 * 60 {
		if i%25 == 0 {
			w.play([]string{"lose b 1", "lose c 1", "lose d 1"}[i/25%3])
		}
		w.node("a").broadcast("s", fmt.Sprint(i))
		w.run(50 * time.Millisecond)
	}
	w.run(5 * time.Second)
	for _, n := range w.nodes {
		if got := len(n.states["s"].items); got != 1200 {
			t.Errorf("%s has %d of 1200", n.name, got)
		}
	}
	if w.count["pull"]+w.count["push"] > 0 {
		t.Errorf("states were exchanged: %v", w.count)
	}
}

// At rest there are heartbeats, and one comparison a node and period.
func TestRest(t *testing.T) {
	for _, c := range []struct {
		nodes   int
		beats   int
		native  bool
		minutes int
	}{{3, 3 * 120, false, 1}, {30, 30 * 40, false, 1}, {3, 3 * 3, true, 1}} {
		w := scene(t, "")
		if c.native {
			w.play("transport native unicast")
		}
		var names []string
		for i := range c.nodes {
			names = append(names, fmt.Sprintf("n%02d", i))
		}
		w.play("node " + strings.Join(names, ",") + " s\n run 1m\n count")
		w.play("run 1m")
		periods := 2 * c.nodes
		for kind, most := range map[string]int{"heartbeat": c.beats, "pull": periods + c.nodes, "answer": periods + c.nodes} {
			if got := w.count[kind]; got > most+most/10 {
				t.Errorf("%d nodes, native %v: %d %ss a minute, want %d at most", c.nodes, c.native, got, kind, most)
			}
			delete(w.count, kind)
		}
		if len(w.count) > 0 {
			t.Errorf("%d nodes, native %v: other frames at rest: %v", c.nodes, c.native, w.count)
		}
	}
}

// A node starts a bounded number of exchanges, and answers a bounded number,
// whatever it hears.
func TestBudgets(t *testing.T) {
	w := scene(t, "node a,b,c s\n run 10s\n state a s has=x")
	clear(w.count)
	a := w.node("a")
	for i := range 2000 {
		a.step(Received{From: "b", Message: &Pull{To: "a", ID: uint64(i + 100), Items: []PullItem{{Key: "s", HasDigest: true, Digest: 1}}}})
		w.run(5 * time.Millisecond)
	}
	if got := w.count["answer"]; got > answersBurst+10*answersPerSecond+200 {
		t.Errorf("%d answers in 10 s", got)
	}
	clear(w.count)
	for i := range 1000 {
		a.step(Received{From: "b", Message: &Heartbeat{
			Member: Member{Name: "b"}, Count: uint64(1000 + i), Interval: time.Second, Numbers: []Last{{"s", uint64(1000 * (i + 1))}},
		}})
		a.step(Received{From: "b", Message: &Kept{Keys: []KeptKey{{"s", uint64(1000 * (i + 1)), Ranges{{1, uint64(1000 * (i + 1))}}}}}})
		w.run(10 * time.Millisecond)
	}
	if got := w.count["pull"]; got > startsBurst+10*startsPerSecond {
		t.Errorf("%d exchanges in 10 s", got)
	}
}

// What is said in names that somebody invents is bounded.
func TestInventedNames(t *testing.T) {
	w := scene(t, "node a,b s\n run 10s")
	a := w.node("a")
	for i := range 6000 {
		name := fmt.Sprintf("x%d", i)
		a.step(Received{From: name, Message: &Heartbeat{Member: Member{Name: name, Addr: strings.Repeat("a", 200)}, Count: 1, Interval: time.Hour}})
		a.receive(name+"u", strings.Repeat("k", 100), 0, 7, nil)
	}
	if n := len(a.core.View().Members); n > maxMembers+1 {
		t.Errorf("%d members", n)
	}
	if n := len(a.core.roster.all); n > maxMembers+maxDeparted+maxStrangers {
		t.Errorf("%d nodes", n)
	}
	w.run(2 * time.Second)
	if a.core.interval != 500*time.Millisecond {
		t.Errorf("heartbeats stretch to %v for names that were heard once", a.core.interval)
	}
	w.play("kill b")
	w.run(3 * time.Second)
	if slices.ContainsFunc(a.core.View().Members, func(m Member) bool { return m.Name == "b" }) {
		t.Error("a crash is not seen among invented names")
	}
}

// The departed stay known for longer than any copy of their frames can arrive,
// and are forgotten then.
func TestTheDepartedAreForgotten(t *testing.T) {
	w := scene(t, "node a,b s\n run 5s\n say a s x\n run 1s\n close a\n run 5m")
	b := w.node("b").core
	if p := b.roster.get("a"); p == nil || p.life != left || b.streams == 0 {
		t.Fatal("a is not known five minutes after its goodbye")
	}
	w.run(6 * time.Minute)
	if b.roster.get("a") != nil || b.streams != 0 || len(b.states["s"].streams) != 0 {
		t.Error("a is known for longer than it must be")
	}
}

// States that come and go leave nothing but their numbers.
func TestStatesComeAndGo(t *testing.T) {
	w := scene(t, "node a,b s\n run 5s")
	for i := range 1000 {
		key := fmt.Sprintf("k%d", i)
		w.play("state a " + key + "\n state b " + key + "\n say a " + key + " x\n run 10ms\n remove a " + key + "\n remove b " + key)
	}
	w.run(time.Minute)
	for _, n := range w.nodes {
		c := n.core
		if len(c.keys) != 1 || c.streams != 0 || len(c.jobs) != 0 || len(c.begun) != 0 || c.keptAll != 0 || len(c.asked.pulls) != 0 || len(c.holes.open) != 0 {
			t.Errorf("%s: %d keys, %d streams, %d jobs, %d bytes kept, %d holes", n.name, len(c.keys), c.streams, len(c.jobs), c.keptAll, len(c.holes.open))
		}
	}
}

// A state that is added again under its key has its own numbers, and no receipts.
func TestNumbersSurviveRemoval(t *testing.T) {
	w := scene(t, "node a,b s\n run 5s\n say a s 1 2 3\n run 1s\n remove a s\n state a s\n run 1s\n say a s 4\n run 1s")
	if !w.node("b").states["s"].items["4"] {
		t.Error("b takes a number that was used before for a duplicate")
	}
	w.play("remove b s\n state b s\n run 2s")
	if got := string(w.node("b").states["s"].marshal()); got != "1,2,3,4" {
		t.Errorf("the state that b added again has %q", got)
	}
}
