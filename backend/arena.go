package backend

import "sync"

// smallArena is up to how large a buffer stays with its owner; larger ones are
// shared by all, since large updates are rare.
const smallArena = 1 << 20

// arenas holds large buffers between two uses, until memory is short.
var arenas arenaPool

type arenaPool struct{ pool sync.Pool }

// get returns an empty buffer with room for n bytes.
func (p *arenaPool) get(n int) []byte {
	if b, ok := p.pool.Get().(*[]byte); ok && cap(*b) >= n {
		return *b
	}
	return make([]byte, 0, n+n/8)
}

// put takes a buffer back that nobody reads any more.
func (p *arenaPool) put(b []byte) {
	b = b[:0]
	p.pool.Put(&b)
}
