package backend

import (
	"slices"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/codec"
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// What waits to be sent besides updates.
const (
	maxControl   = 1024      // small messages for all, and as many that are for one member each
	maxLanes     = 64        // members that small ones are sent to at a time
	maxBulk      = 1024      // states and updates sent again
	maxBulkBytes = 256 << 20 // of those that wait
	maxSending   = 16        // members that data is sent to at a time: as many as the core answers at a time
	smallBulk    = 2 << 20   // data that may be sent beside any other: a step of a walk has 1 MiB, and one entry more
)

// letter is a message that waits to be sent. A large one is encoded when its turn
// comes.
type letter struct {
	to      string // the one member that it is for; empty: all
	message core.Message
	frame   []byte    // instead: updates that are sent again
	names   []string  // whom the frame names as its receivers; none: all
	size    int       // bytes of data
	until   time.Time // when to give up a member that the transport does not know yet
}

// mail holds the messages that wait to be sent: small ones for all, which wait for
// nothing; small ones for one member, which wait for those to the same member; and
// those with data, which do too, and for the data that is for all among themselves. To
// one member an answer goes behind the data that it belongs to.
type mail struct {
	mu      sync.Mutex
	control []letter
	lanes   map[string]*lane // by instance; without those where nothing waits or is sent
	busy    int              // lanes that are sent from
	direct  int              // letters in lanes
	bulk    []letter
	bytes   int       // of bulk
	sending []*letter // whose data is being sent, one of each receiver

	controlWake, laneWake, bulkWake chan struct{}
}

// lane holds the small messages for one member.
type lane struct {
	letters []letter
	busy    bool // somebody sends from it
}

func newMail() *mail {
	return &mail{lanes: map[string]*lane{}, controlWake: make(chan struct{}, 1), laneWake: make(chan struct{}, 1), bulkWake: make(chan struct{}, 1)}
}

// post queues a message. It reports whether there was room. The oldest small one
// gives way: a later heartbeat says more.
func (m *mail) post(l letter) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.size > 0 || m.follows(l) {
		if len(m.bulk) >= maxBulk || m.bytes+l.size > maxBulkBytes && m.bytes > 0 {
			return false
		}
		m.renew(&l)
		m.bulk = append(m.bulk, l)
		m.bytes += l.size
		signal(m.bulkWake)
		return true
	}
	if l.to != "" {
		m.postTo(l)
		return true
	}
	if len(m.control) >= maxControl {
		m.control = slices.Delete(m.control, 0, 1)
	}
	m.control = append(m.control, l)
	signal(m.controlWake)
	return true
}

// postTo queues a small message for one member. Where there is no room the longest
// lane gives way. m.mu is held.
func (m *mail) postTo(l letter) {
	if m.direct >= maxControl {
		var longest *lane
		for _, at := range m.lanes {
			if longest == nil || len(at.letters) > len(longest.letters) {
				longest = at
			}
		}
		longest.letters = slices.Delete(longest.letters, 0, 1)
		m.direct--
	}
	at := m.lanes[l.to]
	if at == nil {
		at = &lane{}
		m.lanes[l.to] = at
	}
	at.letters = append(at.letters, l)
	m.direct++
	signal(m.laneWake)
}

// nextLane returns a member that small messages wait for and nobody sends to. Who
// gets it sends from its lane until nextTo returns false.
func (m *mail) nextLane() (to string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.busy >= maxLanes {
		return "", false
	}
	for to, at := range m.lanes {
		if !at.busy && len(at.letters) > 0 {
			at.busy = true
			m.busy++
			return to, true
		}
	}
	return "", false
}

// nextTo takes the next small message for a member, or ends its lane.
func (m *mail) nextTo(to string) (l letter, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.lanes[to]
	if len(at.letters) == 0 {
		delete(m.lanes, to)
		m.busy--
		signal(m.laneWake) // another one may wait for room
		return l, false
	}
	l = at.letters[0]
	at.letters = slices.Delete(at.letters, 0, 1)
	m.direct--
	return l, true
}

// follows reports whether a small message must not overtake data on its way to
// the same receivers.
func (m *mail) follows(l letter) bool {
	if _, ok := l.message.(*core.Answer); !ok {
		return false
	}
	return m.isSendingTo(l.to) || slices.ContainsFunc(m.bulk, func(b letter) bool { return b.to == l.to })
}

// isSendingTo reports whether data is being sent to a receiver. m.mu is held.
func (m *mail) isSendingTo(to string) bool {
	return slices.ContainsFunc(m.sending, func(l *letter) bool { return l.to == to })
}

// again queues a message whose receiver the transport did not know, before all else
// for it.
func (m *mail) again(l letter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bulk = slices.Insert(m.bulk, 0, l)
	m.bytes += l.size
	signal(m.bulkWake)
}

// nextControl takes the next small message for all.
func (m *mail) nextControl() (l letter, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.control) == 0 {
		return l, false
	}
	l = m.control[0]
	m.control = m.control[1:]
	return l, true
}

// nextBulk takes the next message with data. Where the transport can send to one
// member, that is the next one for a receiver that nothing is being sent to; else one
// goes after the other. doneBulk follows.
func (m *mail) nextBulk(unicast bool) *letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.sending) >= maxSending || len(m.sending) > 0 && !unicast {
		return nil
	}
	i := slices.IndexFunc(m.bulk, func(l letter) bool { return !m.isSendingTo(l.to) && m.fits(&l) })
	if i < 0 {
		return nil
	}
	l := m.bulk[i]
	m.bulk = slices.Delete(m.bulk, i, i+1) // what it held is free to go
	m.bytes -= l.size
	m.sending = append(m.sending, &l)
	return &l
}

// fits reports whether a message takes little memory besides what is being sent: it is
// small, or of the same copies of states. m.mu is held.
func (m *mail) fits(l *letter) bool {
	if l.size <= smallBulk {
		return true
	}
	large := slices.DeleteFunc(slices.Clone(m.sending), func(o *letter) bool { return o.size <= smallBulk })
	if len(large) == 0 {
		return true
	}
	states := l.states()
	return len(states) > 0 && !slices.ContainsFunc(states, func(s heldState) bool {
		return !slices.ContainsFunc(large, func(o *letter) bool { return o.holds(*s.data) })
	})
}

// holds reports whether a letter holds that very copy of a state.
func (l *letter) holds(data []byte) bool {
	return len(data) == 0 || slices.ContainsFunc(l.states(), func(s heldState) bool { return len(*s.data) > 0 && &(*s.data)[0] == &data[0] })
}

// doneBulk ends what nextBulk has begun.
func (m *mail) doneBulk(l *letter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sending = slices.DeleteFunc(m.sending, func(o *letter) bool { return o == l })
	signal(m.bulkWake) // another one may wait for it
}

// drop empties the queues: there is no link.
func (m *mail) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.control, m.bulk, m.bytes, m.direct = nil, nil, 0, 0
	for to, at := range m.lanes {
		if at.letters = nil; !at.busy {
			delete(m.lanes, to)
		}
	}
}

// isEmpty reports whether nothing waits, and nothing for one member is on its way.
func (m *mail) isEmpty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.control) == 0 && len(m.lanes) == 0 && len(m.bulk) == 0 && len(m.sending) == 0
}

// holding returns a state that waits to be sent, or is being sent: many members ask
// at once, and what goes to one of them goes to the others.
func (m *mail) holding(key string, digest uint64) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.sending {
		if b := l.data(key, digest); b != nil {
			return b
		}
	}
	for i := range m.bulk {
		if b := m.bulk[i].data(key, digest); b != nil {
			return b
		}
	}
	return nil
}

// renew puts the states that a letter holds in place of those that wait to be sent: the
// later says more, and a node holds one copy of what it sends, besides the one that is on
// its way. m.mu is held.
func (m *mail) renew(l *letter) {
	for _, now := range l.states() {
		for i := range m.bulk {
			b := &m.bulk[i]
			for _, old := range b.states() {
				if old.key == now.key {
					m.bytes += len(*now.data) - len(*old.data)
					b.size += len(*now.data) - len(*old.data)
					*old.digest, *old.data = *now.digest, *now.data
					if old.known != nil && now.known != nil {
						*old.known = *now.known
					}
				}
			}
		}
	}
}

// heldState is a state in a letter.
type heldState struct {
	key    string
	known  *bool // whether digest counts; nil: nobody asks
	digest *uint64
	data   *[]byte
}

// states returns the whole states that a letter holds.
func (l *letter) states() (all []heldState) {
	switch m := l.message.(type) {
	case *core.Answer:
		for i := range m.Items {
			if it := &m.Items[i]; it.Outcome == core.Data {
				all = append(all, heldState{it.Key, &it.HasDigest, &it.Digest, &it.Data})
			}
		}
	case *core.Push:
		all = append(all, heldState{m.Key, nil, &m.Digest, &m.Data})
	}
	return all
}

// newLetter returns the letter of a message.
func newLetter(to string, message core.Message) letter {
	l := letter{to: to, message: message}
	switch m := message.(type) {
	case *core.Answer:
		for _, it := range m.Items {
			l.size += len(it.Data)
		}
	case *core.Push:
		l.size = len(m.Data)
	case *core.Walk:
		l.size = core.SizeOf(m.Entries)
	case *core.Walked:
		l.size = core.SizeOf(m.Entries)
	}
	_, l.names = codec.Kind(message)
	return l
}

// encoded returns the frame of a letter, in two parts. What the letter does not hold
// itself is in a buffer.
func (l *letter) encoded(e *wire.Encoder) (head, tail []byte) {
	if l.frame == nil {
		return codec.EncodeOpen(e, l.message, buffer)
	}
	return l.frame, nil
}

// data returns a state that the letter holds, by its key and its digest.
func (l *letter) data(key string, digest uint64) []byte {
	for _, s := range l.states() {
		if s.key == key && *s.digest == digest {
			return *s.data
		}
	}
	return nil
}
