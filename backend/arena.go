package backend

import (
	"runtime"
	"slices"
	"sync"
)

const (
	arenaBytes  = 16 << 20 // of the buffers that wait for their next use
	arenaRounds = 16       // collections of garbage that a buffer waits for it
)

// arenas holds large buffers between two uses. A sync.Pool would not: a megabyte
// that is received makes so much garbage that it is emptied before the next one.
var arenas arenaPool

type arenaPool struct {
	mu     sync.Mutex
	free   []arena // in the order in which they came
	bytes  int
	round  int
	rounds bool // whether they are counted
}

type arena struct {
	buf   []byte
	round int // in which it came
}

// get returns an empty buffer with room for n bytes, and not for very many more.
func (p *arenaPool) get(n int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.free) - 1; i >= 0; i-- {
		if b := p.free[i].buf; cap(b) >= n && cap(b)/4 <= n {
			p.drop(i)
			return b
		}
	}
	return make([]byte, 0, n+n/8)
}

// put takes a buffer back that nobody reads any more.
func (p *arenaPool) put(b []byte) {
	if cap(b) > arenaBytes {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.bytes+cap(b) > arenaBytes {
		p.drop(0)
	}
	p.free = append(p.free, arena{b[:0], p.round})
	p.bytes += cap(b)
	if !p.rounds {
		p.rounds = true
		p.await()
	}
}

func (p *arenaPool) drop(i int) {
	p.bytes -= cap(p.free[i].buf)
	p.free = slices.Delete(p.free, i, i+1)
}

// await calls collected after the next collection of garbage.
func (p *arenaPool) await() {
	runtime.AddCleanup(new([16]byte), func(p *arenaPool) { p.collected() }, p)
}

// collected lets go of what has waited for too long.
func (p *arenaPool) collected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round++
	for len(p.free) > 0 && p.free[0].round <= p.round-arenaRounds {
		p.drop(0)
	}
	if p.rounds = len(p.free) > 0; p.rounds {
		p.await()
	}
}
