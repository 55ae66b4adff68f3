package conformance

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/wire"
	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

var strangersChecks = []*check{
	{name: "strangers/hostile-frames", level: basic, rules: []int{24, 23}, alone: true, body: strangersHostileFrames,
		holds: "well-formed frames that lie about numbers, sizes and members cost little, stop nobody and are counted"},
	{name: "strangers/pulls", level: basic, rules: []int{24, 23}, body: strangersPulls,
		holds: "who is no member is not answered, however often it asks for all states"},
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// hostile are frames that each lie about something in a member's name, or in
// nobody's.
func hostile(cluster, member string) (frames [][]byte) {
	as := wire.NewEncoder(cluster, member)
	update := func(enc *wire.Encoder, key string, number uint64) {
		b, start := enc.AppendUpdate(nil, wire.UpdateHead{Key: key, Number: number}, nil)
		frames = append(frames, b[start:])
	}
	for i := range 60 { // numbers far ahead, each with a gap before it
		update(as, "set", 1<<i)
	}
	update(as, "set", math.MaxUint64-1)
	update(as, "set", math.MaxUint64)
	for i := range 500 { // keys that nobody has, from members that are not
		stranger := wire.NewEncoder(cluster, fmt.Sprintf("stranger-%d", i%50))
		update(stranger, fmt.Sprint(strings.Repeat("k", 240), i), uint64(1+i))
	}
	large := make([]byte, 64<<20) // pieces that promise more
	for i := range 40 {
		enc := wire.NewEncoder(cluster, fmt.Sprintf("stranger-%d", i))
		_ = enc.Chunks(large, 1<<10, nil, uint64(i+1), func(piece []byte) error {
			frames = append(frames, piece)
			return errEnough
		})
	}
	// A goodbye in the member's name, and one message of each other kind that says
	// nothing.
	frames = append(frames, as.Message(wire.Goodbye, nil, 16, func(b []byte) []byte { return field.AppendUint(b, 2, 1<<40) }))
	for kind := wire.Heartbeat; kind.IsMessage(); kind++ {
		frames = append(frames, wire.NewEncoder(cluster, "stranger").Message(kind, nil, 0, func(b []byte) []byte { return b }))
	}
	return frames
}

func strangersHostileFrames(e *env) {
	nodes := e.openRarely("a", "b", "c")
	sets := addSets("set", nodes)
	e.ready(nodes...)
	sets[0].write([]byte("before"))
	e.eventually(e.limit(joiner), "an entry is everywhere", func() error { return holdAll(1, sets...) })

	const maxHeap, maxBytes, maxPulls = 24 << 20, 2 << 20, 100
	var pulls atomic.Int64
	for _, n := range nodes {
		n.tap.setSaw(func(frame []byte) {
			var f wire.Frame
			if wire.Decode(frame, &f) == nil && f.Kind == wire.Pull {
				pulls.Add(1)
			}
		})
	}
	rejected := map[string]float64{}
	for _, reason := range []string{"number", "malformed"} {
		rejected[reason] = nodes[1].metric(metricRejected, "reason", reason)
	}
	heap, size := heapInUse(), sentBy(nodes...)
	frames := hostile(e.cluster, nodes[0].self.Instance)
	start := time.Now()
	for _, frame := range frames {
		for _, n := range nodes {
			n.tap.inject(frame)
		}
	}
	if took := e.since(start); took > e.scaled(5*time.Second) {
		e.Errorf("to hear %d frames took %v", 3*len(frames), took)
	}
	sets[1].write([]byte("after"))
	e.eventually(e.patience(), "the next entry arrives", func() error { return holdAll(2, sets...) })
	e.eventually(e.limit(detect)+e.patience(), "the cluster is as it was", func() error { return agree(nodes...) })
	sets[0].write([]byte("of the one whose name was used"))
	e.eventually(e.patience(), "its entry arrives", func() error { return holdAll(3, sets...) })
	if grown := int64(heapInUse()) - int64(heap); grown > maxHeap {
		e.Errorf("the heap grew by %d bytes, over %d frames", grown, 3*len(frames))
	}
	if n := sentBy(nodes...) - size; n > maxBytes {
		e.Errorf("%d frames made the nodes send %d bytes, want at most %d", 3*len(frames), n, maxBytes)
	}
	if n := pulls.Load(); n > maxPulls {
		e.Errorf("%d frames made the nodes ask %d times for states, want at most %d", 3*len(frames), n, maxPulls)
	}
	for _, reason := range []string{"number", "malformed"} {
		if nodes[1].metric(metricRejected, "reason", reason) == rejected[reason] {
			e.Errorf("%s counts none of the hostile frames with the reason %s", metricRejected, reason)
		}
	}
}

// strangersPulls repeats what a member asked for that has left.
func strangersPulls(e *env) {
	nodes := e.openRarely("a", "b", "c")
	sets := addSets("set", nodes)
	sets[0].write(random(1 << 20))
	e.eventually(e.limit(joiner), "the entry is everywhere", func() error { return holdAll(1, sets...) })
	d := e.open("d", rarely)
	sets = append(sets, d.addSet("set"))
	var pull []byte
	e.eventually(e.patience(), "a joiner asks for the state", func() error { // ready or not: it may have heard nobody for a moment
		for _, frame := range d.tap.recent() {
			var f wire.Frame
			if pull == nil && wire.Decode(frame, &f) == nil && f.Kind == wire.Pull {
				pull = frame // the first: later ones say what the joiner has
			}
		}
		if pull != nil {
			return holdAll(1, sets...)
		}
		return errors.New("it has asked for nothing")
	})
	d.close()
	e.within(leave, "the others drop d", func() error { return agree(nodes...) })
	before := sentBy(nodes...)
	for range 200 {
		for _, n := range nodes {
			n.tap.inject(pull)
		}
	}
	e.always(2*e.limit(leave), "nothing changes", func() error { return agree(nodes...) })
	if size := sentBy(nodes...) - before; size > 1<<20 {
		e.Errorf("200 pulls of who has left made the nodes send %d bytes, for a state of 1 MiB", size)
	}
}
