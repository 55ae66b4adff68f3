package sim

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/backend/internal/reconcile"
)

// state is a model of a State, with the queue before it.
type state struct {
	p       *process
	key     string
	set     set
	arrived set // merged as updates
	refused map[update]bool
	aside   set // entries that were refused once
	like    likeness
	odd     []*[]string // the steps that it behaves by, in order

	queue   []job
	busy    bool
	removed bool
	current *job
}

// likeness is how a state behaves.
type likeness struct {
	merge, marshal time.Duration // how long it takes at most
	refuses        float64       // part of the merges that fail
	broken         bool          // it cannot be marshalled
	hung           bool          // neither returns
	shifty         bool          // it marshals differently each time
	undigested     bool          // and says so
	size           int           // bytes of ballast in each full state
	gone           float64       // part of the entries that are not there any more when they are fetched
	room           int           // of its queue; 0: 65536
}

// usual is how states are that nothing is said of.
var usual = likeness{merge: 50 * time.Microsecond, marshal: 200 * time.Microsecond}

// job is one thing that waits for its turn: an update, or what an effect asks for.
type job struct {
	update  update
	ref     core.Ref
	marshal *core.Marshal
	fetch   *core.Fetch
	merge   *core.Merge
}

func newState(p *process, key string) *state {
	return &state{p: p, key: key, like: usual, refused: map[update]bool{}}
}

// enqueue reports whether there was room.
func (st *state) enqueue(j job) bool {
	room := st.like.room
	if room == 0 {
		room = 65536
	}
	if len(st.queue) >= room {
		return false
	}
	st.queue = append(st.queue, j)
	return true
}

// waits reports whether e waits in the queue as an update.
func (st *state) waits(e int) bool {
	is := func(j job) bool { return j.marshal == nil && j.fetch == nil && j.merge == nil && j.update.entry == e }
	return st.current != nil && is(*st.current) || slices.ContainsFunc(st.queue, is)
}

// work begins what is first in the queue.
func (st *state) work() {
	if st.busy || st.removed || len(st.queue) == 0 || st.like.hung {
		return
	}
	st.busy = true
	j := st.queue[0]
	st.queue = st.queue[1:]
	st.current = &j
	most := st.like.merge
	var snapshot set
	if j.fetch != nil {
		most = st.like.marshal
	}
	if j.marshal != nil {
		most = st.like.marshal
		st.p.core.Begin(j.marshal.Job)
		snapshot = st.set.clone()
	}
	st.p.after(st.p.w.between(most/4, most), func() { st.finish(&j, snapshot) })
}

// finish ends j, if that can be.
func (st *state) finish(j *job, snapshot set) {
	if st.removed {
		return
	}
	if st.like.hung {
		st.p.after(100*time.Millisecond, func() { st.finish(j, snapshot) })
		return
	}
	p := st.p
	st.busy, st.current = false, nil
	switch {
	case j.marshal != nil:
		p.step(st.marshalled(j.marshal, snapshot))
	case j.fetch != nil:
		p.step(st.fetched(j.fetch))
	case j.merge != nil:
		merged := core.Merged{Job: j.merge.Job}
		pieces := j.merge.Entries
		if pieces == nil {
			pieces = [][]byte{j.merge.Data}
		}
		for _, b := range pieces {
			if p.w.chance(st.like.refuses) {
				merged.Err = errRefused
				merged.Refused++
				if j.merge.Entries != nil {
					st.aside.merge(decodeSet(b))
				}
			} else {
				st.set.merge(decodeSet(b))
			}
		}
		if j.merge.Digest {
			merged.Digest, merged.HasDigest = st.digest(st.set, j.merge.Entries != nil)
		}
		p.step(merged)
	default:
		var err error
		if p.w.chance(st.like.refuses) {
			err = errRefused
			st.refused[j.update] = true
		} else {
			st.set.add(j.update.entry)
			st.arrived.add(j.update.entry)
		}
		if p.core.UpdateMerged(p.clock(), j.ref, err) {
			p.carryOut("UpdateMerged")
		}
	}
	st.work()
}

func (st *state) marshalled(m *core.Marshal, snapshot set) core.Marshalled {
	e := core.Marshalled{Job: m.Job}
	if st.like.broken {
		e.Err = errRefused
		return e
	}
	apart := st.apart() && !m.Whole
	e.Digest, e.HasDigest = st.digest(snapshot, apart)
	if apart {
		e.Entries = uint64(snapshot.count()) + 1
	}
	switch {
	case m.OnlyDigest || e.HasDigest && slices.Contains(m.Unless, e.Digest):
	case m.Apart && apart:
		e.View = reconcile.NewView(snapshot.ids(), st.salt(m.Salt))
	default:
		e.Data = snapshot.encode(st.like.size)
	}
	return e
}

// apart reports whether the state can be taken apart, by this version of its node.
func (st *state) apart() bool {
	return slices.Contains(st.p.w.scenario.Apart, st.key) && !slices.Contains(st.p.without, "Walk")
}

// salt returns a salt, or a random one in place of none.
func (st *state) salt(salt uint64) uint64 {
	if salt == 0 {
		salt = st.p.w.rand.Uint64() | 1
	}
	return salt
}

// fetched returns entries of the state as it is now.
func (st *state) fetched(f *core.Fetch) core.Fetched {
	out := core.Fetched{Job: f.Job}
	if st.like.broken {
		out.Err = errRefused
		return out
	}
	for size := 0; out.Taken < len(f.IDs) && (size < f.Room || out.Taken == 0); out.Taken++ {
		e := int(binary.BigEndian.Uint64(f.IDs[out.Taken][8:]))
		if !st.set.has(e) || st.p.w.chance(st.like.gone) {
			continue
		}
		var one set
		one.add(e)
		b := one.encode(st.like.size / 16)
		out.Entries = append(out.Entries, b)
		size += len(b)
	}
	return out
}

// ids are those of the entries of a set: their numbers.
func (s set) ids() (ids []reconcile.ID) {
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			var id reconcile.ID
			binary.BigEndian.PutUint64(id[8:], uint64(64*i+bits.TrailingZeros64(word)))
			ids = append(ids, id)
		}
	}
	return ids
}

// digest returns the digest of a set: of its entries, or as one that is not taken
// apart.
func (st *state) digest(s set, apart bool) (sum uint64, ok bool) {
	if st.like.undigested {
		return 0, false
	}
	sum = s.digest()
	if apart {
		sum ^= 1 << 31
	}
	if st.like.shifty {
		st.p.w.shifts++
		sum += uint64(st.p.w.shifts) << 32
	}
	return sum, true
}

// known are the entries that the state has or has put aside, since it refused them.
func (st *state) known() set {
	all := st.set.clone()
	all.merge(st.aside)
	return all
}

// abandon ends what waits for a state that is removed.
func (st *state) abandon() {
	st.removed = true
	jobs := st.queue
	if st.current != nil {
		jobs = append([]job{*st.current}, jobs...)
	}
	st.queue = nil
	for _, j := range jobs {
		switch {
		case j.marshal != nil:
			st.p.step(core.Marshalled{Job: j.marshal.Job, Err: errRemoved})
		case j.fetch != nil:
			st.p.step(core.Fetched{Job: j.fetch.Job, Err: errRemoved})
		case j.merge != nil:
			st.p.step(core.Merged{Job: j.merge.Job, Err: errRemoved})
		default:
			if st.p.core.UpdateMerged(st.p.clock(), j.ref, errRemoved) {
				st.p.carryOut("UpdateMerged")
			}
		}
	}
}

// marshal queues what a Marshal effect asks for.
func (p *process) marshal(e core.Marshal) {
	if st := p.states[e.Key]; st == nil || !st.enqueue(job{marshal: &e}) {
		p.w.after(0, func() { p.do(func() { p.step(core.Marshalled{Job: e.Job, Err: errRemoved}) }) })
	}
}

// fetch queues what a Fetch effect asks for.
func (p *process) fetch(e core.Fetch) {
	if st := p.states[e.Key]; st == nil || !st.enqueue(job{fetch: &e}) {
		p.w.after(0, func() { p.do(func() { p.step(core.Fetched{Job: e.Job, Err: errRemoved}) }) })
	}
}

// merge queues what a Merge effect asks for.
func (p *process) merge(e core.Merge) {
	if st := p.states[e.Key]; st == nil || !st.enqueue(job{merge: &e}) {
		p.w.after(0, func() { p.do(func() { p.step(core.Merged{Job: e.Job, Full: true}) }) })
	}
}

// set is a set of entries.
type set []uint64

func (s *set) add(e int) {
	for e/64 >= len(*s) {
		*s = append(*s, 0)
	}
	(*s)[e/64] |= 1 << (e % 64)
}

func (s set) has(e int) bool { return e/64 < len(s) && s[e/64]&(1<<(e%64)) != 0 }

func (s set) clone() set { return slices.Clone(s) }

func (s *set) merge(other set) {
	for len(*s) < len(other) {
		*s = append(*s, 0)
	}
	for i, word := range other {
		(*s)[i] |= word
	}
}

// minus returns the first entry of s that is not in other, or -1.
func (s set) minus(other set) int {
	for i, word := range s {
		if i < len(other) {
			word &^= other[i]
		}
		if word != 0 {
			return 64*i + bits.TrailingZeros64(word)
		}
	}
	return -1
}

func (s set) count() int {
	n := 0
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// digest is that of the entries, however they are kept.
func (s set) digest() uint64 {
	sum := uint64(0x9e3779b97f4a7c15)
	for i, word := range s {
		if word != 0 {
			sum = (sum ^ word ^ uint64(i)<<40) * 0xbf58476d1ce4e5b9
			sum ^= sum >> 31
		}
	}
	return sum
}

// encode returns the set as bytes, with ballast.
func (s set) encode(ballast int) []byte {
	b := make([]byte, 4+8*len(s)+ballast)
	binary.BigEndian.PutUint32(b, uint32(len(s)))
	for i, word := range s {
		binary.BigEndian.PutUint64(b[4+8*i:], word)
	}
	return b
}

// decodeSet is the inverse of encode. What is no set is the empty one.
func decodeSet(b []byte) set {
	if len(b) < 4 {
		return nil
	}
	n := int(binary.BigEndian.Uint32(b))
	if n > (len(b)-4)/8 {
		return nil
	}
	s := make(set, n)
	for i := range s {
		s[i] = binary.BigEndian.Uint64(b[4+8*i:])
	}
	return s
}
