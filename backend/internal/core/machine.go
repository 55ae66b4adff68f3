package core

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
)

// Core is the machine. Its methods must not be called at once.
type Core struct {
	cfg  Config
	now  time.Duration
	rand *rand.Rand

	effects   []Effect
	view      *View
	changed   bool          // the view may have
	publishAt time.Duration // not before; a large one is not made anew for each of many changes
	wakeAt    time.Duration // what Next said last

	link       link
	linkErr    error
	transport  Transport
	since      time.Duration // when the status was entered
	detachedAt time.Duration // Never while Attached
	isolated   bool
	parted     []*node       // that this node lost when it was isolated, until it is attached again
	wasUp      bool          // this node was attached before
	attachedAt time.Duration // the last time
	catchUp    catchUp

	incarnation uint32
	pulse       heartbeat.Pulse
	interval    time.Duration // between own heartbeats
	full        *Heartbeat    // the last own one that was not short
	unknownAt   time.Duration // when somebody was heard first whose name is not known
	nextBeat    time.Duration
	markAt      time.Duration // when a mark tells numbers that were sent since the last heartbeat
	hello       int           // heartbeats that still ask for a list
	helloAt     time.Duration // when the last one asked
	informed    bool          // it was told who is there, or asked for an interval without an answer
	listAt      time.Duration // when this node answers a hello
	listOwed    time.Duration // since when
	listFor     *node         // who said hello
	listBudget  bucket
	raises      bucket
	voids       bucket

	roster   roster
	list     []Member // the transport's own, of who is present
	hasList  bool
	departAt time.Duration // when the departed are looked through
	self     ownView       // of who is steady
	joined   []*node       // that appeared ready, and are to be compared with
	joinedAt time.Duration

	states   map[string]*state
	retired  map[string]numbersOf
	keys     []*state // sorted by key
	keySet   uint64
	missed   []missedUpdate // for keys that are not registered here
	told     int            // where in keys the idle ones are told next
	changes  []*state       // that changed lately, the next to be told first
	keptAll  int            // bytes
	streams  int
	ready    Readiness
	readyAt  time.Duration // when a limit passes
	settleBy time.Duration // the limit of a node without states

	holes    holes
	asked    asked
	answered answered
	jobs     map[Job]func(Event)
	begun    map[Job]func()
	lastJob  Job

	closing  bool
	flushed  bool
	lingerAt time.Duration
	partAt   time.Duration // when it says again that it leaves
	closed   bool
}

// New returns the core of a node that is detached and knows nobody. All times must
// be positive: zero stands for never.
func New(cfg Config, now time.Duration) *Core {
	c := &Core{
		cfg: cfg, now: now, rand: rand.New(rand.NewPCG(cfg.Seed, 0x9e3779b97f4a7c15)),
		settleBy: now + cfg.Settle, since: now, detachedAt: now, attachedAt: Never, interval: cfg.Heartbeat,
		unknownAt: Never, nextBeat: Never, markAt: Never, listAt: Never, lingerAt: Never, partAt: Never, joinedAt: Never, departAt: Never, wakeAt: Never,
		listBudget: newBucket(listsPerSecond, listsBurst), raises: newBucket(1/raiseEvery.Seconds(), raiseBurst), voids: newBucket(voidsPerSecond, voidsBurst),
		roster: roster{byID: map[string]*node{}},
		states: map[string]*state{}, retired: map[string]numbersOf{},
		jobs:  map[Job]func(Event){},
		begun: map[Job]func(){},
	}
	c.holes.at = Never
	c.self = ownView{at: Never}
	c.asked.init(now, c.syncPause())
	c.answered.init()
	c.publish()
	return c
}

// Step notes that e has happened. now must not be before that of any former
// call.
func (c *Core) Step(now time.Duration, e Event) {
	c.begin(now)
	if !c.closed {
		c.stoodStill()
		c.handle(e)
		c.tick()
	}
	c.end()
}

// begin starts what an entry into the core does.
func (c *Core) begin(now time.Duration) { c.now = max(c.now, now) }

// end finishes it.
func (c *Core) end() {
	if c.changed && c.now >= c.publishAt {
		c.publish()
		c.publishAt = c.now
		if len(c.roster.live) > publishAtOnce {
			c.publishAt += publishPause
		}
	}
	c.wakeAt = c.next()
}

// handle handles one event.
func (c *Core) handle(e Event) {
	switch e := e.(type) {
	case Tick:
	case LinkUp:
		c.onLinkUp(e.Transport)
	case LinkDown:
		c.onLinkDown(e.Err)
	case Received:
		c.onMessage(e)
	case Progress:
		c.asked.progress(c, e.From)
	case Unsent:
		c.asked.silent(c, e.To)
	case Listed:
		c.onList(e.Members)
	case Left:
		c.onLeft(e.Member)
	case Exchanged:
		c.onExchanged(e)
	case StateAdded:
		c.onStateAdded(e)
	case StateRemoved:
		c.onStateRemoved(e.Key)
	case Marshalled:
		c.finish(e.Job, e)
	case Fetched:
		c.finish(e.Job, e)
	case Merged:
		c.finish(e.Job, e)
	case Close:
		c.onClose()
	case Flushed:
		c.onFlushed()
	case Hurry:
		c.lingerAt = min(c.lingerAt, c.now)
	}
}

// onMessage handles one control message.
func (c *Core) onMessage(e Received) {
	if e.From == c.cfg.Self.Instance {
		c.onOwnMessage(e.Message)
		return
	}
	if e.From == "" || len(e.From) > maxInstanceBytes {
		c.reject(e.From, "instance")
		return
	}
	p := c.roster.get(e.From)
	switch m := e.Message.(type) {
	case *Heartbeat:
		c.onHeartbeat(e.From, m)
	case *Goodbye:
		c.onGoodbye(e.From, m)
	case *Void:
		c.onVoid(p, m)
	case *List:
		c.onMemberList(e.From, m)
	case *ListRequest:
		c.onListRequest(p, m)
	case *Missing:
		c.onMissing(p, m)
	case *Kept:
		c.onKept(p, m)
	case *Pull:
		c.answered.onPull(c, e.From, p, m)
	case *Answer:
		c.asked.onAnswer(c, p, m)
	case *Push:
		c.onPush(p, m)
	case *Walk:
		c.answered.onWalk(c, e.From, p, m)
	case *Walked:
		c.asked.onWalked(c, p, m)
	}
}

// tick does what is due.
func (c *Core) tick() {
	c.tickLink()
	c.tickMembers()
	c.tickHoles()
	c.tickReady()
	c.asked.tick(c)
	c.answered.tick(c)
	c.tickDisputes()
	c.tickBeat()
	c.tickClose()
}

// next returns the earliest time at which something is due.
func (c *Core) next() time.Duration {
	if c.closed {
		return Never
	}
	at := Never
	if c.changed {
		at = c.publishAt
	}
	return min(at, c.nextLink(), c.nextMembers(), c.holes.at, c.readyAt, c.asked.next(c), c.answered.next(c),
		c.self.at, c.nextBeat, c.markAt, c.lingerAt, c.partAt)
}

// Effects returns what is to be done, in order, and forgets it. The slice is
// valid until the next call.
func (c *Core) Effects() []Effect {
	e := c.effects
	c.effects = nil
	return e
}

func (c *Core) emit(e Effect) { c.effects = append(c.effects, e) }

func (c *Core) send(to string, m Message) { c.emit(Send{c.way(to), m}) }

// way returns to whom to send what is for one member: to all where its heartbeats do not
// say that it hears what is for it alone, as nodes of earlier commits do not on every
// transport. The message says whom it is for.
func (c *Core) way(to string) string {
	if p := c.roster.get(to); p != nil && c.transport.Unicast && p.numbered && !p.alone {
		return ""
	}
	return to
}

func (c *Core) note(k NoteKind, p *node, key string, n uint64, text string) {
	note := Note{Kind: k, Key: key, Count: n, Text: text}
	if p != nil {
		note.Member = p.Member
	}
	c.emit(note)
}

func (c *Core) reject(from, reason string) {
	c.emit(Note{Kind: NoteRejected, Member: Member{Instance: from}, Text: reason})
}

// Next returns when Tick is to be stepped, unless another event comes before:
// Never, or a time that may have passed.
func (c *Core) Next() time.Duration { return c.wakeAt }

// View returns the view as last published.
func (c *Core) View() *View { return c.view }

// job registers what is to be done when an effect ends, and when it begins.
func (c *Core) job(begun func(), done func(Event)) Job {
	c.lastJob++
	c.jobs[c.lastJob] = done
	if begun != nil {
		c.begun[c.lastJob] = begun
	}
	return c.lastJob
}

func (c *Core) finish(j Job, e Event) {
	done := c.jobs[j]
	delete(c.jobs, j)
	delete(c.begun, j)
	if done != nil {
		done(e)
	}
}

// Begin says that the job of a Marshal effect begins in its state's queue: what
// was merged until now will be in its result.
func (c *Core) Begin(j Job) {
	if begun := c.begun[j]; begun != nil {
		delete(c.begun, j)
		begun()
	}
}

// publish makes the view anew.
func (c *Core) publish() {
	c.changed = false
	self := c.cfg.Self
	v := &View{
		Members: make([]Member, 0, len(c.roster.live)+1),
		Since:   c.since, Ready: c.ready, Isolated: c.isolated, Err: c.linkErr,
		Unready: c.unready(), Disputed: c.disputed(),
	}
	if c.link == attached {
		v.Status, v.Err = Attached, nil
	}
	v.Position, _ = c.roster.find(self)
	for i, p := range c.roster.live {
		if i == v.Position {
			v.Members = append(v.Members, self)
		}
		v.Members = append(v.Members, p.Member)
	}
	if v.Position == len(c.roster.live) {
		v.Members = append(v.Members, self)
	}
	conflict := c.conflict(v.Position-1) || c.conflict(v.Position)
	if conflict {
		v.Err = cmp.Or(v.Err, ErrNameConflict)
	}
	old := c.view
	if old != nil {
		if sameView(old, v) {
			return
		}
		v.Epoch = old.Epoch
		if conflict && old.Err != ErrNameConflict && v.Err == ErrNameConflict {
			c.note(NoteConflict, nil, "", 0, c.cfg.Self.Name)
		}
	}
	v.Epoch++
	c.view = v
	c.emit(Publish{v})
}

// conflict reports whether the live node at i has this node's name.
func (c *Core) conflict(i int) bool {
	return i >= 0 && i < len(c.roster.live) && c.roster.live[i].Name == c.cfg.Self.Name && !c.roster.live[i].foreign()
}

func sameView(a, b *View) bool {
	return a.Status == b.Status && a.Ready == b.Ready && a.Isolated == b.Isolated && a.Err == b.Err && a.Since == b.Since &&
		slices.Equal(a.Unready, b.Unready) && slices.Equal(a.Disputed, b.Disputed) && slices.EqualFunc(a.Members, b.Members, equalMembers)
}
