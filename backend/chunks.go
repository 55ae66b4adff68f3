package backend

import (
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const (
	assemblyBytes  = wire.MaxFrame // of unfinished frames, all origins together
	assemblyIdle   = 30 * time.Second
	assemblyFrames = 256     // unfinished, all origins together
	assemblyOf     = 32      // of one origin
	maxChunks      = 1 << 20 // of one frame
	pieceOverhead  = 64      // bytes that a piece is counted for besides its own
	firstRoom      = 64 << 10
	smallFrame     = 2 << 20
	tellEvery      = 100 * time.Millisecond
)

// assembly puts chunked frames together again. Memory is taken as pieces arrive
// and not as they promise; where it runs out, the origin that holds the most
// gives way.
type assembly struct {
	mu    sync.Mutex
	parts []*partial
	bytes int
	last  []chunkID // put together last: their pieces may come once more
}

type chunkID struct {
	origin string
	id     uint64
}

// partial is a frame of which some pieces have arrived.
type partial struct {
	id     chunkID
	total  uint64
	count  uint64
	frame  []byte            // what has arrived without a gap
	next   uint64            // the piece that follows it
	later  map[uint64][]byte // pieces after a gap
	bytes  int               // that it is counted for
	lastAt time.Duration
	toldAt time.Duration // when the core was last told that it grows
}

func newAssembly() *assembly { return &assembly{} }

// outcome is what came of a chunk.
type outcome struct {
	whole  []byte // the frame, when this was the last piece missing
	tell   bool   // the core should know that something arrives
	refuse bool
}

// add handles one chunk.
func (a *assembly) add(f *wire.Frame, now time.Duration) outcome {
	if f.Count < 1 || f.Count > maxChunks || f.Index >= f.Count || f.Total > wire.MaxFrame ||
		f.Total < f.Count || len(f.Chunk) == 0 || uint64(len(f.Chunk)) > f.Total {
		return outcome{refuse: true}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	id := chunkID{string(f.Origin), f.ID}
	if slices.Contains(a.last, id) {
		return outcome{}
	}
	p := a.find(id)
	if p == nil {
		a.expire(now)
		if p = a.begin(id, f); p == nil {
			return outcome{refuse: true}
		}
	}
	if p.total != f.Total || p.count != f.Count {
		return outcome{refuse: true}
	}
	p.lastAt = now
	if f.Index < p.next || p.later[f.Index] != nil {
		return outcome{}
	}
	if !a.pay(p, len(f.Chunk)+pieceOverhead) {
		return outcome{refuse: true}
	}
	if !p.take(f.Index, f.Chunk) {
		a.drop(p)
		return outcome{refuse: true}
	}
	if p.next < p.count {
		tell := now-p.toldAt >= tellEvery
		if tell {
			p.toldAt = now
		}
		return outcome{tell: tell}
	}
	a.drop(p)
	if uint64(len(p.frame)) != p.total {
		return outcome{refuse: true}
	}
	a.last = append(a.last[max(0, len(a.last)-63):], id)
	return outcome{whole: p.frame}
}

func (a *assembly) find(id chunkID) *partial {
	for _, p := range a.parts {
		if p.id == id {
			return p
		}
	}
	return nil
}

// begin begins a frame, where there is room for one more.
func (a *assembly) begin(id chunkID, f *wire.Frame) *partial {
	p := &partial{id: id, total: f.Total, count: f.Count, later: map[uint64][]byte{}}
	of := 0
	for _, q := range a.parts {
		if q.id.origin == id.origin {
			of++
		}
	}
	if of >= assemblyOf || len(a.parts) >= assemblyFrames && !a.makeRoom(id.origin, 0) {
		return nil
	}
	a.parts = append(a.parts, p)
	return p
}

// pay counts n bytes for p, where there is room for them.
func (a *assembly) pay(p *partial, n int) bool {
	for a.bytes+n > assemblyBytes+assemblyBytes/8 {
		if !a.makeRoom(p.id.origin, a.held(p.id.origin)+n) {
			return false
		}
	}
	p.bytes += n
	a.bytes += n
	return true
}

// held is how many bytes the origin's unfinished frames are counted for.
func (a *assembly) held(origin string) (n int) {
	for _, p := range a.parts {
		if p.id.origin == origin {
			n += p.bytes
		}
	}
	return n
}

// makeRoom drops what the origin that holds the most has waited for the longest,
// if it is another one that holds more than that.
func (a *assembly) makeRoom(origin string, than int) bool {
	var most *partial
	for _, p := range a.parts {
		if p.id.origin == origin {
			continue
		}
		if most == nil || a.held(p.id.origin) > a.held(most.id.origin) || p.id.origin == most.id.origin && p.lastAt < most.lastAt {
			most = p
		}
	}
	if most == nil || a.held(most.id.origin) < than {
		return false
	}
	a.drop(most)
	return true
}

// take puts in a piece. It reports false when the pieces are more than the frame
// is to have.
func (p *partial) take(index uint64, piece []byte) bool {
	if index > p.next {
		p.later[index] = slices.Clone(piece)
		return true
	}
	for ; piece != nil; piece = p.later[p.next] {
		if uint64(len(p.frame)+len(piece)) > p.total {
			return false
		}
		if need := len(p.frame) + len(piece); need > cap(p.frame) {
			// At most about twice of what has arrived, or four times where that is little, so
			// that a megabyte in pieces of a quarter of it is not moved; or where that is
			// enough, so that a large frame is moved when it is small.
			room := max(2*need+firstRoom, min(4*need+firstRoom, smallFrame))
			if 4*need >= int(p.total) {
				room = int(p.total)
			}
			p.frame = append(buffer(min(room, int(p.total))), p.frame...)
		}
		p.frame = append(p.frame, piece...)
		delete(p.later, p.next)
		p.next++
	}
	return true
}

// buffer returns an empty buffer with room for n bytes. A large one may come from
// what is merged, or was sent, and goes back when this is.
func buffer(n int) []byte {
	if n > largeUpdate {
		return arenas.get(n)
	}
	return make([]byte, 0, n)
}

// spent takes a buffer back that nobody reads any more.
func spent(b []byte) {
	if cap(b) > largeUpdate {
		arenas.put(b)
	}
}

func (a *assembly) expire(now time.Duration) {
	for _, p := range slices.Clone(a.parts) {
		if now-p.lastAt > assemblyIdle {
			a.drop(p)
		}
	}
}

func (a *assembly) drop(p *partial) {
	a.parts = slices.DeleteFunc(a.parts, func(q *partial) bool { return q == p })
	a.bytes -= p.bytes
}
