package core

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
)

// life is how far a node's life is.
type life uint8

const (
	stranger life = iota // only updates of it were heard, or a claim about it
	live                 // in the view
	leaving              // it said that it is about to leave: out of the view, and still there to be asked
	left                 // it said goodbye
	failed               // it fell silent, or vanished from the transport's list
)

func (l life) String() string {
	return [...]string{"stranger", "live", "leaving", "left", "failed"}[l]
}

// node is another node, from the first that is heard of it until it is
// forgotten.
type node struct {
	Member
	life        life
	member      bool // it was in the view, at some time
	incarnation uint32
	count       uint64 // of its last heartbeat that was believed
	beat        heartbeat.Member
	heardAt     time.Duration // when it last said something new
	since       time.Duration // when its life took this turn

	worth   Worth
	known   bool   // what it is worth
	keySet  uint64 // a hash of the keys that it has
	view    ViewDigest
	full    uint64             // the count of the heartbeat that told it
	lacks   map[string]bool    // keys that it said it lacks
	spurned map[string]spurned // by key
	wholes  map[string]bool    // keys whose states it gave whole though they can be taken apart here

	alone     bool   // it hears what is sent to it alone, by its heartbeat
	doubted   uint64 // the count of its heartbeat that told another name, and was not believed
	brief     bool   // it understands short heartbeats
	numbered  bool   // by a heartbeat: the incarnation is its own word
	ignored   int    // increasing heartbeats that were not believed
	ignoredN  uint64 // the highest count of those
	ignoredAt time.Duration
	voided    bool          // it was told so
	listed    bool          // the transport's list has it
	parting   bool          // it said that it leaves, and nothing else since
	parts     time.Duration // until when that is believed though the list has it; 0: no more
	still     bool          // the transport said that it left, and its list has held it ever since
	unlisted  time.Duration // until when it is kept though the list lacks it
	excused   bool          // that was granted, and not restored since
	lacking   bool          // the list lacks it
	returned  bool          // it was gone, and is not steady yet

	streams  map[string]*stream // by key, of this incarnation
	former   map[string]*stream // of the one before
	formerly uint32             // which one that was
	tell     int                // heartbeats that are still to tell its last numbers

	steady  bool // counts for the digest of the view
	dispute dispute
}

// foreign reports whether the node speaks another protocol.
func (p *node) foreign() bool { return p.Instance == "" }

// present reports whether the node is there to be asked.
func (p *node) present() bool { return (p.life == live || p.life == leaving) && !p.foreign() }

// departed reports whether the node was a member and is one no more.
func (p *node) departed() bool { return p.life == left || p.life == failed }

// heard notes a sign of life that is no heartbeat.
func (p *node) heard(now time.Duration) {
	p.heardAt = now
	p.beat.Heard()
}

// givesWhole notes that the node gave a state whole which it could have taken apart.
func (p *node) givesWhole(st *state) {
	if p.wholes == nil {
		p.wholes = map[string]bool{}
	}
	p.wholes[st.key] = true
}

// wasMember reports whether the node is or was a member: only then is what it
// lacks searched for.
func (p *node) wasMember() bool { return p.member }

func compareMembers(a, b Member) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Instance, b.Instance))
}

func equalMembers(a, b Member) bool {
	return a.Name == b.Name && a.Instance == b.Instance && a.Addr == b.Addr && maps.Equal(a.Meta, b.Meta)
}

// The limits of what a member may say of itself. The portable layer holds its own
// configuration to the same.
const (
	maxNameBytes     = 128
	maxInstanceBytes = 64
	maxAddrBytes     = 256
	maxMetaBytes     = 512
	maxKeyBytes      = 255
)

// validMember reports whether m may enter a view.
func validMember(m Member) bool {
	size := 0
	for k, v := range m.Meta {
		size += len(k) + len(v)
		if k == "" || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return false
		}
	}
	return validName(m.Name) && m.Instance != "" && len(m.Instance) <= maxInstanceBytes && utf8.ValidString(m.Instance) &&
		len(m.Addr) <= maxAddrBytes && utf8.ValidString(m.Addr) && size <= maxMetaBytes
}

func validName(name string) bool {
	if name == "" || len(name) > maxNameBytes {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-:", r))
	})
}

func hashOf(s string) uint64 { return xxhash.Sum64String(s) }

// roster is the nodes that are known, in any turn of their lives.
type roster struct {
	byID  map[string]*node
	all   []*node // in the order in which they became known
	live  []*node // sorted by name, then instance
	count [failed + 1]int
}

// nodeID is the key of a member: a foreign one has no instance, and no name of
// ours begins with a slash.
func nodeID(m Member) string { return cmp.Or(m.Instance, "/"+m.Name) }

func (r *roster) get(id string) *node { return r.byID[id] }

// add makes a node known.
func (r *roster) add(m Member) *node {
	p := &node{Member: m, streams: map[string]*stream{}}
	r.byID[nodeID(m)] = p
	r.all = append(r.all, p)
	r.count[stranger]++
	return p
}

// turn moves a node on in its life.
func (r *roster) turn(p *node, to life, now time.Duration) {
	r.count[p.life]--
	r.count[to]++
	switch {
	case to == live && p.life != live:
		i, _ := r.find(p.Member)
		r.live = slices.Insert(r.live, i, p)
	case to != live && p.life == live:
		r.unlist(p)
	}
	p.life, p.since = to, now
}

// find returns where in the live ones a member is, or would be.
func (r *roster) find(m Member) (i int, ok bool) {
	return slices.BinarySearchFunc(r.live, m, func(p *node, m Member) int { return compareMembers(p.Member, m) })
}

func (r *roster) unlist(p *node) {
	if i, ok := r.find(p.Member); ok {
		r.live = slices.Delete(r.live, i, i+1)
	}
}

// describe changes what is known of a node as a member.
func (r *roster) describe(p *node, m Member) {
	if p.life != live {
		p.Member = m
		return
	}
	r.unlist(p)
	p.Member = m
	i, _ := r.find(m)
	r.live = slices.Insert(r.live, i, p)
}

func (r *roster) remove(p *node) {
	r.count[p.life]--
	delete(r.byID, nodeID(p.Member))
	r.all = slices.DeleteFunc(r.all, func(q *node) bool { return p == q })
}

// full reports whether there is no room for one more in that turn of life.
func (r *roster) full(l life) bool {
	switch l {
	case stranger:
		return r.count[stranger] >= maxStrangers
	case live:
		return r.count[live]+r.count[leaving] >= maxMembers
	default:
		return r.count[left]+r.count[failed] >= maxDeparted
	}
}

// oldest returns the one that has been in one of these turns of life the longest.
func (r *roster) oldest(lives ...life) (oldest *node) {
	for _, p := range r.all {
		if slices.Contains(lives, p.life) && (oldest == nil || p.since < oldest.since) {
			oldest = p
		}
	}
	return oldest
}

// settled counts the nodes that were heard often enough to stretch intervals.
func (r *roster) settled() (n int) {
	for _, p := range r.live {
		if p.beat.Settled() {
			n++
		}
	}
	return n
}
