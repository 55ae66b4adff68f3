package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

var broadcastChecks = []*check{
	{name: "broadcast/reaches-others", level: basic, rules: []int{1}, body: broadcastReachesOthers,
		holds: "every other member is given the exact bytes, the sender nothing"},
	{name: "broadcast/any-bytes", level: basic, rules: []int{1}, body: broadcastAnyBytes,
		holds: "payloads that are empty, binary or invalid UTF-8 arrive as they were sent"},
	{name: "broadcast/keys-apart", level: basic, rules: []int{1, 14}, body: broadcastKeysApart,
		holds: "a state with a hostile key is given its own updates and no others"},
	{name: "broadcast/buffer-not-kept", level: basic, rules: []int{3}, body: broadcastBufferNotKept,
		holds: "sender and receiver may overwrite a buffer once the call that carried it has returned"},
	{name: "broadcast/reentrant", level: basic, rules: []int{3, 6}, body: broadcastReentrant,
		holds: "Merge may broadcast under the state's lock; an echo costs no frame"},
	{name: "broadcast/said-again", level: basic, rules: []int{1, 6}, waits: true, body: broadcastSaidAgain,
		holds: "bytes that a node was given moments ago, and says itself later, are an update of its own and reach all"},
	{name: "broadcast/never-blocks", level: fault, rules: []int{3, 4}, alone: true, body: broadcastNeverBlocks,
		holds: "10,000 broadcasts to a stalled server return within a second; drops are counted and repaired"},
	{name: "broadcast/size-matrix", level: basic, rules: []int{5}, body: broadcastSizeMatrix,
		holds: "payloads of 1 byte to 8 MiB arrive whole; a larger one than the limit is refused with ErrTooLarge"},
	{name: "broadcast/concurrent", level: basic, rules: []int{1}, body: broadcastConcurrent,
		holds: "the states are equal after sixteen goroutines on each of three nodes have written"},
	{name: "broadcast/bad-peer-bytes", level: basic, rules: []int{7, 14, 24}, body: broadcastBadPeerBytes,
		holds: "garbage and replayed frames are ignored and counted"},
	{name: "broadcast/one-bad-state", level: basic, rules: []int{7}, body: broadcastOneBadState,
		holds: "a state that panics does not stop the others"},
	{name: "broadcast/slow-state", level: basic, rules: []int{7}, body: broadcastSlowState,
		holds: "a state whose Merge hangs delays no other, in updates or in exchange"},
}

// ready waits until the first exchange of each of nodes is over.
func (e *env) ready(nodes ...*node) {
	e.Helper()
	for _, n := range nodes {
		ctx, cancel := context.WithTimeout(context.Background(), e.scaled(10*time.Second))
		err := n.WaitReady(ctx)
		cancel()
		if err != nil {
			e.Fatalf("%s: WaitReady: %v", n, err)
		}
	}
}

// rarely sets a period so long that a check sees no periodic exchange.
func rarely(c *backend.Config) { c.Timing.Sync = time.Hour }

func (e *env) openRarely(names ...string) []*node {
	e.Helper()
	nodes := make([]*node, len(names))
	for i, name := range names {
		nodes[i] = e.open(name, rarely)
	}
	e.agreed(nodes...)
	return nodes
}

func broadcastReachesOthers(e *env) {
	nodes := e.openAll("a", "b", "c")
	recorders := addRecorders("events", nodes)
	message := []byte("one message")
	recorders[0].channel.Broadcast(message)
	e.eventually(e.limit(joiner), "the others are given the message", func() error {
		for _, r := range recorders[1:] {
			if err := r.given(message); err != nil {
				return err
			}
		}
		return nil
	})
	e.always(e.scaled(300*time.Millisecond), "nothing is given to the sender", func() error { return recorders[0].given() })
	for _, r := range recorders[1:] {
		if err := r.given(message); err != nil {
			e.Error(err)
		}
	}
}

func addRecorders(key string, nodes []*node) []*recorder {
	recorders := make([]*recorder, len(nodes))
	for i, n := range nodes {
		n.env.Helper()
		recorders[i] = n.addRecorder(key)
	}
	return recorders
}

func broadcastAnyBytes(e *env) {
	nodes := e.openAll("a", "b")
	recorders := addRecorders("bytes", nodes)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	payloads := [][]byte{all, []byte("\xff\xfe invalid \xc3\x28"), {0}, []byte("\r\n\r\n"), []byte(recorderState + "!"), bytes.Repeat([]byte{0}, 3000)}
	for _, b := range append([][]byte{nil, {}}, payloads...) {
		if err := recorders[0].channel.TryBroadcast(b); err != nil {
			e.Errorf("TryBroadcast(%.20q): %v", b, err)
		}
	}
	e.eventually(e.limit(joiner), "every payload arrives as it was", func() error {
		return recorders[1].given(append([][]byte{{}}, payloads...)...)
	})
}

func broadcastKeysApart(e *env) {
	nodes := e.openAll("a", "b")
	keys := []string{
		"a:b", "a.b", "a", "b", "*", ">", "a.*", "a.>", " ", "a b", "/", "..", "%", "{a}", "$SYS", "\n", "\x00", "schlüssel-鍵-🔑",
		"K", "k", "a/b", "a%2fb", "a%2Fb", "a+b", "a_b", "a\r\n", "a\n", "+", "#", "a/#", "a/+", "\u00e9", "e\u0301", "[ab]", "a?", "\\", "'", "\"",
		strings.Repeat("k", 200), strings.Repeat("k", 199) + "l",
	}
	var from, to []*recorder
	for _, key := range keys {
		from, to = append(from, nodes[0].addRecorder(key)), append(to, nodes[1].addRecorder(key))
	}
	for i, key := range keys {
		from[i].channel.Broadcast([]byte("for " + key))
	}
	e.eventually(e.limit(joiner), "each state is given its own", func() error {
		for i, key := range keys {
			if err := to[i].given([]byte("for " + key)); err != nil {
				return fmt.Errorf("key %q: %w", key, err)
			}
		}
		return nil
	})
	for _, key := range []string{"a:b", "", strings.Repeat("k", 256), "\xff"} {
		if _, err := nodes[0].AddState(key, &recorder{node: nodes[0]}, nil); !errors.Is(err, backend.ErrConfig) {
			e.Errorf("AddState(%.20q), a key in use or no key: %v, want ErrConfig", key, err)
		}
	}
	only := nodes[0].addRecorder("known to one node alone")
	only.channel.Broadcast([]byte("nobody has this state"))
	from[0].channel.Broadcast([]byte("after"))
	e.eventually(e.limit(joiner), "an unknown key does no harm", func() error {
		return to[0].given([]byte("for "+keys[0]), []byte("after"))
	})
}

func broadcastBufferNotKept(e *env) {
	nodes := e.openAll("a", "b", "c")
	var mu sync.Mutex
	got := map[string]bool{}
	for _, n := range nodes[1:] {
		n.add("buffers", stateFuncs{
			marshal: func() ([]byte, error) { return nil, nil },
			merge: func(b []byte) error {
				mu.Lock()
				got[n.Name+string(b)] = true
				mu.Unlock()
				overwrite(b)
				return nil
			},
		})
	}
	channel := nodes[0].addRecorder("buffers").channel
	for _, n := range nodes {
		n.tap.setScribble()
	}
	const count = 200
	want := map[string]bool{"b": true, "c": true} // the empty full state
	buf := make([]byte, 1000)
	for i := range count {
		for j := range buf {
			buf[j] = byte('a' + (i+j)%26)
		}
		copy(buf, fmt.Sprintf("%06d", i))
		want["b"+string(buf)], want["c"+string(buf)] = true, true
		channel.Broadcast(buf)
		overwrite(buf)
	}
	delete(want, "b")
	delete(want, "c")
	e.eventually(e.limit(joiner), "all arrives though both sides overwrite their buffers", func() error {
		mu.Lock()
		defer mu.Unlock()
		for b := range want {
			if !got[b] {
				return fmt.Errorf("%.7q did not arrive", b)
			}
		}
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	for b := range got {
		if len(b) > 1 && !want[b] && !strings.HasSuffix(b, recorderState) {
			e.Errorf("%.20q arrived, %d bytes, which nobody sent", b, len(b))
		}
	}
}

func broadcastReentrant(e *env) {
	nodes := e.openRarely("a", "b", "c", "d", "e")
	sets := addSets("log", nodes)
	for _, s := range sets {
		s.mu.Lock()
		s.again = true
		s.mu.Unlock()
	}
	e.ready(nodes...)
	// The exchanges that AddState begins end without notice. Once an entry is
	// everywhere and nothing more is sent, they are over.
	sets[1].write([]byte("first"))
	e.eventually(e.limit(joiner), "the first entry is everywhere", func() error { return holdAll(1, sets...) })

	echo := []byte("an entry that stands out: 4f8c1d2e7a")
	frames := make([]int, len(nodes))
	var mu sync.Mutex
	for i, n := range nodes {
		n.tap.setSaw(func(frame []byte) {
			mu.Lock()
			defer mu.Unlock()
			for _, update := range wire.Updates(frame) { // a state exchange is no echo
				frames[i] += bytes.Count(update, echo)
			}
		})
	}
	sets[0].write(echo)
	e.eventually(e.limit(joiner), "the entry is everywhere", func() error { return holdAll(2, sets...) })
	e.always(e.scaled(500*time.Millisecond), "no member sends the entry again", func() error {
		mu.Lock()
		defer mu.Unlock()
		for i, n := range frames {
			if i > 0 && n > 0 {
				return fmt.Errorf("%s sent %d copies of an entry that it had merged", nodes[i], n)
			}
		}
		if frames[0] > len(nodes)-1 {
			return fmt.Errorf("%s sent %d copies of one entry to %d others", nodes[0], frames[0], len(nodes)-1)
		}
		return nil
	})
}

// broadcastNeverBlocks sends each of few entries many times: an unbounded queue
// would take more than maxHeap, and the state that repairs what was dropped is
// small, so that an exchange under way does not count as a queue.
func broadcastNeverBlocks(e *env) {
	const (
		size    = 8000
		entries = 100
		times   = 100
		queue   = 1 << 20
		maxHeap = 32 << 20
	)
	small := func(c *backend.Config) { c.QueueItems, c.QueueBytes, c.MaxPayload = 1000, queue, queue }
	nodes := []*node{e.open("a", small), e.open("b", small)}
	e.agreed(nodes...)
	sets := addSets("set", nodes)
	sets[0].write([]byte("before"))
	e.eventually(e.limit(joiner), "an entry arrives", func() error { return holdAll(1, sets...) })

	updates := make([][]byte, entries)
	for i := range updates {
		updates[i] = sets[0].put(bytes.Repeat([]byte{byte(i)}, size))
	}
	release := nodes[0].stall()
	defer release()
	heap := heapInUse()
	counted := nodes[0].metric(metricPublishFailures, "msg_type", "update")
	start := time.Now()
	full, slowest := 0, time.Duration(0)
	for i := range entries * times {
		before := time.Now()
		if err := sets[0].channel.TryBroadcast(updates[i/times]); errors.Is(err, backend.ErrQueueFull) {
			full++
		} else if err != nil {
			e.Errorf("TryBroadcast with a stalled transport: %v", err)
		}
		slowest = max(slowest, time.Since(before))
	}
	if took := e.since(start); took > e.scaled(time.Second) {
		e.Errorf("%d broadcasts took %v with a stalled transport, the slowest %v", entries*times, took, slowest)
	}
	grown := int64(heapInUse()) - int64(heap)
	if grown > maxHeap {
		e.Errorf("the heap grew by %d bytes over a stalled transport with a queue of %d", grown, queue)
	}
	if full == 0 {
		e.Errorf("no broadcast was refused with ErrQueueFull, though %d bytes were sent into a queue of %d", entries*times*size, queue)
	}
	if n := nodes[0].metric(metricPublishFailures, "msg_type", "update") - counted; n < float64(full) {
		e.Errorf("%s counts %v lost updates, though %d were refused", metricPublishFailures, n, full)
	}
	release()
	e.within(restart, "what was dropped is repaired", func() error { return holdAll(entries+1, sets...) })
	runtime.KeepAlive(updates)
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func broadcastSizeMatrix(e *env) {
	const most = 9 << 20
	limit := func(c *backend.Config) { c.MaxPayload = most }
	nodes := []*node{e.open("a", limit), e.open("b", limit), e.open("c", limit)}
	e.agreed(nodes...)
	recorders := addRecorders("sizes", nodes)
	// Random, so that compression or a repeated chunk is noticed.
	random := rand.NewChaCha8([32]byte{'s', 'i', 'z', 'e'})
	var sent [][]byte
	for _, size := range []int{1, 699, 701, 64 << 10, 1<<20 + 1, 8 << 20, most} {
		b := make([]byte, size)
		_, _ = random.Read(b) // never fails
		sent = append(sent, b)
		if err := recorders[0].channel.TryBroadcast(b); err != nil {
			e.Errorf("TryBroadcast of %d bytes: %v", size, err)
		}
		e.eventually(e.patience(), fmt.Sprintf("%d bytes arrive whole", size), func() error {
			for _, r := range recorders[1:] {
				if err := r.given(sent...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	before := nodes[0].metric(metricDropped, "reason", "too_large")
	if err := recorders[0].channel.TryBroadcast(make([]byte, most+1)); !errors.Is(err, backend.ErrTooLarge) {
		e.Errorf("TryBroadcast of one byte more than the limit: %v, want ErrTooLarge", err)
	}
	if n := nodes[0].metric(metricDropped, "reason", "too_large") - before; n != 1 {
		e.Errorf("%s counts %v for a payload that was too large, want 1", metricDropped, n)
	}
	if err := agree(nodes...); err != nil {
		e.Errorf("after large payloads: %v", err)
	}
	for _, n := range nodes {
		if n.tap.opened() != 1 {
			e.Errorf("%s opened its driver %d times: a large payload broke the link", n, n.tap.opened())
		}
	}
}

func broadcastConcurrent(e *env) {
	nodes := e.openAll("a", "b", "c")
	sets := addSets("set", nodes)
	const writers, each = 16, 200
	var wg sync.WaitGroup
	for _, s := range sets {
		for range writers {
			wg.Go(func() {
				for i := range each {
					s.write([]byte{byte(i)})
				}
			})
		}
	}
	wg.Wait()
	e.eventually(e.patience(), "all sets are equal", func() error { return holdAll(len(sets)*writers*each, sets...) })
}

func broadcastBadPeerBytes(e *env) {
	nodes := e.openAll("a", "b")
	sets := addSets("set", nodes)
	sets[0].write([]byte("before"))
	e.eventually(e.limit(joiner), "an entry arrives", func() error { return holdAll(1, sets...) })

	rejected := nodes[1].metric(metricRejected)
	random := rand.New(rand.NewPCG(1, 2))
	var bad [][]byte
	for range 100 {
		b := make([]byte, random.IntN(200))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		bad = append(bad, b)
	}
	bad = append(bad, nil, []byte("GET / HTTP/1.1\r\n\r\n"), bytes.Repeat([]byte{0xff}, 1<<20), bytes.Repeat([]byte{0x0a}, 1<<16))
	real := append(nodes[0].tap.recent(), nodes[1].tap.recent()...)
	for _, frame := range real {
		for _, n := range []int{1, len(frame) / 2, len(frame) - 1} {
			bad = append(bad, frame[:min(n, len(frame))])
		}
	}
	for _, frame := range append(bad, real...) { // real ones are replayed
		nodes[1].tap.inject(frame)
		if e.h.Inject != nil {
			e.h.Inject(e, e.server, e.cluster, frame)
		}
	}
	sets[0].write([]byte("after"))
	e.eventually(e.limit(restart), "the next good entry arrives", func() error { return holdAll(2, sets...) })
	e.eventually(e.patience(), "the cluster is as it was", func() error { return agree(nodes...) })
	if n := nodes[1].metric(metricRejected) - rejected; n < 50 {
		e.Errorf("%s counts %v of more than 100 bad frames", metricRejected, n)
	}
}

func broadcastOneBadState(e *env) {
	boom := errors.New("boom")
	var erred, panicked atomic.Bool
	bad := map[string]stateFuncs{
		"merge errors":   {merge: func([]byte) error { erred.Store(true); return boom }, marshal: func() ([]byte, error) { return []byte("x"), nil }},
		"merge panics":   {merge: func([]byte) error { panicked.Store(true); panic("boom") }, marshal: func() ([]byte, error) { return []byte("x"), nil }},
		"marshal errors": {merge: func([]byte) error { return nil }, marshal: func() ([]byte, error) { return nil, boom }},
		"marshal panics": {merge: func([]byte) error { return nil }, marshal: func() ([]byte, error) { panic("boom") }},
	}
	nodes := e.openAll("a", "b")
	sets := addSets("good", nodes)
	sets[0].put([]byte("by exchange"))
	channels := map[string]backend.Channel{}
	for key, s := range bad {
		channels[key] = nodes[0].add(key, s)
		nodes[1].add(key, s)
	}
	for range 3 {
		for _, c := range channels {
			c.Broadcast([]byte("update"))
		}
		sets[0].write([]byte("by update"))
	}
	e.eventually(e.limit(joiner), "the bad states receive updates", func() error {
		if !erred.Load() || !panicked.Load() {
			return errors.New("not yet")
		}
		return nil
	})
	sets[0].write([]byte("after the first error"))
	e.eventually(e.limit(joiner)+2*e.h.Timing.Channel.Sync, "the good state has all updates and what is exchanged", func() error { return holdAll(5, sets...) })

	late := e.open("c")
	for key, s := range bad {
		late.add(key, s)
	}
	sets = append(sets, late.addSet("good"))
	nodes = append(nodes, late)
	e.eventually(e.limit(joiner), "a joiner has the good state", func() error { return holdAll(5, sets...) })
	e.agreed(nodes...)
}

// moment is how long a broadcast may be taken for the echo of what was merged.
const moment = 3 * time.Second

func broadcastSaidAgain(e *env) {
	nodes := e.openRarely("a", "b", "c")
	var all []*recorder
	for _, n := range nodes {
		all = append(all, n.addRecorder("recorder"))
	}
	e.ready(nodes...)
	said := []byte("said by a, and later by b")
	all[0].channel.Broadcast(said)
	e.eventually(e.limit(joiner), "b and c are given it", func() error {
		return errors.Join(all[1].given(said), all[2].given(said))
	})
	e.always(e.scaled(moment), "b and c are given nothing else", func() error {
		return errors.Join(all[1].given(said), all[2].given(said))
	})
	before := all[2].times(said)
	all[1].channel.Broadcast(said)
	e.eventually(e.limit(joiner), "a and c are given it when b says it", func() error {
		if all[0].times(said) == 0 || all[2].times(said) == before {
			return fmt.Errorf("a was given it %d times, and c %d times after %d", all[0].times(said), all[2].times(said), before)
		}
		return nil
	})
}

func broadcastSlowState(e *env) {
	nodes := e.openRarely("a", "b")
	slow, quick := addSets("slow", nodes), addSets("quick", nodes)
	late := nodes[0].addSet("late")
	late.put([]byte("what b lacks"))
	e.ready(nodes...)
	release := slow[1].holdMerge()
	defer release()
	slow[0].write([]byte("this hangs"))
	e.eventually(e.limit(joiner), "b's Merge hangs", func() error {
		if slow[1].held.Load() == 0 {
			return errors.New("it was not called")
		}
		return nil
	})
	for range 10 {
		quick[0].write([]byte("beside it"))
	}
	e.eventually(e.limit(joiner), "the updates of another state arrive", func() error { return holdAll(10, quick...) })
	lateToo := nodes[1].addSet("late")
	e.within(joiner, "a state that is added gets what was there", func() error { return holdAll(1, late, lateToo) })
	release()
	e.eventually(e.limit(joiner), "the slow state goes on", func() error { return holdAll(1, slow...) })
}
