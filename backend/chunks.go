package backend

import (
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

const (
	assemblyBytes   = 256 << 20 // of unfinished frames, all origins together
	assemblyIdle    = 30 * time.Second
	assemblyFrames  = 1024
	maxChunksPerOne = 1 << 20
)

// assembly puts chunked frames together again, within bounds.
type assembly struct {
	mu    sync.Mutex
	parts map[chunkID]*partial
	bytes int
}

type chunkID struct {
	origin string
	id     uint64
}

type partial struct {
	buf    []byte
	have   []bool
	left   int
	size   int // of every chunk but the last
	lastAt time.Time
}

func newAssembly() *assembly { return &assembly{parts: map[chunkID]*partial{}} }

// add stores one chunk. It returns the whole frame when that was the last one
// missing. ok is false when the chunk was refused.
func (a *assembly) add(f *wire.Frame, now time.Time) (whole []byte, ok bool) {
	if f.Count < 1 || f.Count > maxChunksPerOne || f.Index >= f.Count || f.Total > assemblyBytes ||
		f.Total < f.Count || len(f.Chunk) == 0 || uint64(len(f.Chunk)) > f.Total {
		return nil, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	id := chunkID{string(f.Origin), f.ID}
	p := a.parts[id]
	if p == nil {
		a.expire(now)
		if a.bytes+int(f.Total) > assemblyBytes || len(a.parts) >= assemblyFrames {
			return nil, false
		}
		p = &partial{buf: make([]byte, f.Total), have: make([]bool, f.Count), left: int(f.Count)}
		p.size = (int(f.Total) + int(f.Count) - 1) / int(f.Count)
		if f.Index < f.Count-1 {
			p.size = len(f.Chunk)
		} else if f.Count > 1 {
			p.size = (int(f.Total) - len(f.Chunk)) / int(f.Count-1)
		}
		a.parts[id] = p
		a.bytes += len(p.buf)
	}
	off := int(f.Index) * p.size
	if len(p.have) != int(f.Count) || len(p.buf) != int(f.Total) || off+len(f.Chunk) > len(p.buf) {
		return nil, false
	}
	p.lastAt = now
	if p.have[f.Index] {
		return nil, true
	}
	copy(p.buf[off:], f.Chunk)
	p.have[f.Index] = true
	if p.left--; p.left > 0 {
		return nil, true
	}
	a.drop(id)
	return p.buf, true
}

func (a *assembly) expire(now time.Time) {
	for id, p := range a.parts {
		if now.Sub(p.lastAt) > assemblyIdle {
			a.drop(id)
		}
	}
}

func (a *assembly) drop(id chunkID) {
	a.bytes -= len(a.parts[id].buf)
	delete(a.parts, id)
}
