package backend

import (
	"sync"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// queue is what waits for a state's Merge, in the order of arrival: in blocks, none of
// which is moved while others are added. A state keeps a small one for what
// arrives one by one; in a burst the others come from those that all states share.
type queue struct {
	blocks []*block
	items  int
	bytes  int      // of the updates
	small  *block   // while nothing is in it
	list   []*block // empty, to be used again
}

// block holds the bytes of its updates, but for those that are in a buffer of their own.
type block struct {
	entries []entry
	arena   []byte
}

// How much is in a block.
const (
	smallItems, smallBytes = 8, 2 << 10
	blockItems, blockBytes = 256, 64 << 10
)

// entry is an update, or a job that runs in turn with the updates.
type entry struct {
	data     []byte
	sent     int64
	ref      core.Ref
	numbered bool
	more     *errand // of a job, and of an update that is in a buffer of its own
}

// errand is what few entries have.
type errand struct {
	home   []byte // the buffer that the update is in
	size   int    // of the job
	job    func()
	cancel func() // instead of job, when the state ends first; may be nil
}

var blocks = sync.Pool{New: func() any { return newBlock(blockItems, blockBytes) }}

func newBlock(items, bytes int) *block {
	return &block{entries: make([]entry, 0, items), arena: make([]byte, 0, bytes)}
}

// update adds an update: a copy of data, unless that is in a buffer of its own, home.
func (q *queue) update(data, home []byte, e entry) {
	q.bytes += len(data)
	if home == nil && len(data) > blockBytes {
		data = append(arenas.get(len(data)), data...)
		home = data
	}
	if home != nil {
		e.data, e.more = data, &errand{home: home}
		q.push(e)
		return
	}
	b := q.room(len(data))
	at := len(b.arena)
	b.arena = append(b.arena, data...)
	e.data = b.arena[at:len(b.arena):len(b.arena)]
	b.entries = append(b.entries, e)
	q.items++
}

// push adds an entry whose bytes are elsewhere.
func (q *queue) push(e entry) {
	b := q.room(0)
	b.entries = append(b.entries, e)
	q.items++
}

// room returns the last block, or a new one, with room for one more update of n bytes.
func (q *queue) room(n int) *block {
	if k := len(q.blocks); k > 0 && q.blocks[k-1].has(n) {
		return q.blocks[k-1]
	}
	b := q.small
	switch {
	case len(q.blocks) > 0 || n > smallBytes:
		b = blocks.Get().(*block)
	case b == nil:
		b = newBlock(smallItems, smallBytes)
	default:
		q.small = nil
	}
	q.blocks = append(q.blocks, b)
	return b
}

// has reports whether there is room for one more update of n bytes.
func (b *block) has(n int) bool {
	return len(b.entries) < cap(b.entries) && len(b.arena)+n <= cap(b.arena)
}

// worked gives back a block of what take returned, when all in it is done.
func worked(all []*block, i int) {
	b := all[i]
	clear(b.entries)
	b.entries, b.arena = b.entries[:0], b.arena[:0]
	if cap(b.entries) > smallItems {
		all[i] = nil // it may be somebody else's now
		blocks.Put(b)
	}
}

// take takes all out of the queue. It goes back by worked, and at the end by done.
func (q *queue) take() []*block {
	all := q.blocks
	q.blocks, q.list = q.list, nil
	q.items, q.bytes = 0, 0
	return all
}

// done gives back what take returned.
func (q *queue) done(all []*block) {
	if len(all) == 0 {
		return
	}
	if all[0] != nil {
		q.small = all[0]
	}
	clear(all)
	if cap(all) <= blockItems {
		q.list = all[:0]
	}
}

// abandon cancels the jobs of blocks that will not be worked off.
func abandon(all []*block) {
	for _, b := range all {
		for _, e := range b.entries {
			if e.more != nil && e.more.cancel != nil {
				e.more.cancel()
			}
		}
	}
}
