package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// TestMemoryThatKnowsItsMembers holds the suite to a sound transport with a list of
// members and a way to one of them, in virtual time.
func TestMemoryThatKnowsItsMembers(t *testing.T) {
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := memoryHarness()
				sound := h.Driver
				h.Driver = func(t testing.TB, n Node) driver.OpenFunc { return roster{}.over(sound(t, n)) }
				c.run(t, newSuite(t, h))
			})
		})
	}
}

// roster makes a transport that knows its members, and can send to one, of one that
// does not: each node says now and then who it is. Its functions are the faults of
// mutants; nil is without a fault.
type roster struct {
	says   func(driver.Member) driver.Member                      // what a node says of itself
	beats  func(n int) bool                                       // whether it says it the nth time
	lists  func(self string, all []driver.Member) []driver.Member // what the handler is given
	sends  func(to string) string                                 // to whom a frame for one goes
	unsure bool                                                   // a send to nobody reports nothing
	byes   func(driver.Handler, driver.Member, func())            // what becomes of a goodbye, and of the shorter list after it
	hears  func(d *rosterDriver, h driver.Handler, frame []byte)  // what becomes of a frame in
	links  func(h driver.Handler, err error)                      // what becomes of a word about the link
}

const (
	rosterBeat   = 100 * time.Millisecond
	rosterExpiry = 1300 * time.Millisecond
)

// The first bytes of what is no frame.
const (
	rosterIsHere = "\x00B"
	rosterLeaves = "\x00L"
	rosterToOne  = "\x00U" // then the instance, and a zero
)

func (r roster) over(inner driver.OpenFunc) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		d, err := inner(ctx, o)
		if err != nil {
			return nil, err
		}
		return &rosterDriver{Driver: d, roster: r, self: o.Self, seats: map[string]*seat{}}, nil
	}
}

type rosterDriver struct {
	driver.Driver
	roster roster
	self   driver.Member

	mu    sync.Mutex
	seats map[string]*seat
	lost  bool // all others are gone, without a goodbye
	ended bool // the link is lost
}

type seat struct {
	driver.Member
	heard time.Time
}

func (d *rosterDriver) Caps() driver.Caps {
	caps := d.Driver.Caps()
	caps.Membership, caps.Send = true, d.send
	if caps.MaxFrame > 0 {
		caps.MaxFrame -= 100 // for who it is for
	}
	return caps
}

func (d *rosterDriver) send(ctx context.Context, to driver.Member, frame []byte) error {
	d.mu.Lock()
	_, known := d.seats[to.Instance]
	d.mu.Unlock()
	if !known && to.Instance != d.self.Instance && !d.roster.unsure {
		if err := d.Driver.Broadcast(ctx, []byte(rosterIsHere)); err != nil { // closed, or away
			return err
		}
		return fmt.Errorf("roster: %w: %q is no member", driver.ErrUnavailable, to.Instance)
	}
	instance := to.Instance
	if d.roster.sends != nil {
		instance = d.roster.sends(instance)
	}
	return d.pass(ctx, frame, append([]byte(rosterToOne+instance+"\x00"), frame...))
}

func (d *rosterDriver) Broadcast(ctx context.Context, frame []byte) error {
	return d.pass(ctx, frame, frame)
}

func (d *rosterDriver) pass(ctx context.Context, frame, message []byte) error {
	if most := d.Caps().MaxFrame; most > 0 && len(frame) > most {
		return fmt.Errorf("roster: %w: a frame of %d bytes", driver.ErrTooLarge, len(frame))
	}
	return d.Driver.Broadcast(ctx, message)
}

// say says who this node is, or that it leaves.
func (d *rosterDriver) say(ctx context.Context, what string) {
	m := d.self
	if d.roster.says != nil {
		m = d.roster.says(m)
	}
	b, _ := json.Marshal(m) // never fails
	_ = d.Driver.Broadcast(ctx, append([]byte(what), b...))
}

func (d *rosterDriver) Serve(ctx context.Context, h driver.Handler) error {
	inside, end := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() {
		tick := time.NewTicker(rosterBeat)
		defer tick.Stop()
		for n := 0; ; n++ {
			if d.roster.beats == nil || d.roster.beats(n) {
				d.say(inside, rosterIsHere)
			}
			d.expire(h)
			if n == 0 && d.answers(inside) {
				d.list(h)
				d.link(h, nil)
			}
			select {
			case <-tick.C:
			case <-inside.Done():
				return
			}
		}
	})
	err := d.Driver.Serve(inside, &rosterHandler{Handler: h, d: d})
	end()
	beats.Wait()
	d.mu.Lock()
	d.ended = err != nil
	d.mu.Unlock()
	return err
}

// answers waits for those who are there.
func (d *rosterDriver) answers(ctx context.Context) bool {
	select {
	case <-time.After(10 * time.Millisecond):
		return true
	case <-ctx.Done():
		return false
	}
}

func (d *rosterDriver) Close(ctx context.Context) error {
	d.mu.Lock()
	ended := d.ended
	d.mu.Unlock()
	if !ended { // else it comes back
		d.say(ctx, rosterLeaves)
	}
	return d.Driver.Close(ctx)
}

// expire drops who was not heard for long.
func (d *rosterDriver) expire(h driver.Handler) {
	d.mu.Lock()
	before := len(d.seats)
	maps.DeleteFunc(d.seats, func(_ string, s *seat) bool { return time.Since(s.heard) > rosterExpiry })
	changed, alone := len(d.seats) < before, len(d.seats) == 0
	d.lost = d.lost || changed && alone
	lost := d.lost
	d.mu.Unlock()
	if changed {
		d.list(h)
		if lost {
			d.link(h, errors.New("roster: no member is heard any more"))
		}
	}
}

func (d *rosterDriver) link(h driver.Handler, err error) {
	if d.roster.links != nil {
		d.roster.links(h, err)
		return
	}
	h.Link(err)
}

// list hands the list over.
func (d *rosterDriver) list(h driver.Handler) {
	d.mu.Lock()
	all := []driver.Member{d.self}
	for _, s := range d.seats {
		all = append(all, s.Member)
	}
	d.mu.Unlock()
	slices.SortFunc(all, func(a, b driver.Member) int { return len(a.Instance) - len(b.Instance) })
	if d.roster.lists != nil {
		all = d.roster.lists(d.self.Instance, all)
	}
	h.Members(all)
}

// meet notes what a node says of itself.
func (d *rosterDriver) meet(h driver.Handler, b []byte, leaves bool) {
	var m driver.Member
	if json.Unmarshal(b, &m) != nil || m.Instance == d.self.Instance {
		return
	}
	d.mu.Lock()
	_, known := d.seats[m.Instance]
	if leaves {
		delete(d.seats, m.Instance)
	} else {
		d.seats[m.Instance] = &seat{m, time.Now()}
	}
	back := d.lost && !leaves
	d.lost = d.lost && leaves
	d.mu.Unlock()
	switch {
	case leaves && known && d.roster.byes != nil:
		d.roster.byes(h, m, func() { d.list(h) })
	case leaves && known:
		h.Left(m)
		d.list(h)
	case !leaves && !known:
		d.say(context.Background(), rosterIsHere) // it may be new
		d.list(h)
	}
	if back {
		d.link(h, nil)
	}
}

type rosterHandler struct {
	driver.Handler
	d *rosterDriver
}

func (h *rosterHandler) Link(err error) {
	if err != nil { // once it is attached to the bus, the driver waits for answers
		h.d.link(h.Handler, err)
	}
}

func (h *rosterHandler) Frame(b []byte) {
	frame := b
	switch {
	case len(b) >= 2 && string(b[:2]) == rosterIsHere:
		h.d.meet(h.Handler, b[2:], false)
		return
	case len(b) >= 2 && string(b[:2]) == rosterLeaves:
		h.d.meet(h.Handler, b[2:], true)
		return
	case len(b) >= 2 && string(b[:2]) == rosterToOne:
		i := slices.Index(b[2:], 0)
		if i < 0 {
			return
		}
		if to := string(b[2:][:i]); to != h.d.self.Instance && to != "*" {
			return
		}
		frame = b[2+i+1:]
	}
	if h.d.roster.hears != nil {
		h.d.roster.hears(h.d, h.Handler, frame)
		return
	}
	h.Handler.Frame(frame)
}
