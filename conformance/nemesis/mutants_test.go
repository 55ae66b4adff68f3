package nemesis

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance"
)

// mutant is the memory backend, or the portable layer above it, with one fault,
// and a schedule that shows it.
type mutant struct {
	name     string
	breaks   *promise
	schedule string
	driver   func(*bent)
	channel  func(*bentChannel)
	alone    bool // it shows in what the process holds
}

const three = "0s start a b c\n"

var mutants = []mutant{
	{name: "mixes the order of members", breaks: wellFormed, schedule: three + "1s start c",
		channel: view(func(v *backend.View) { slices.Reverse(v.Members); v.Position = len(v.Members) - 1 - v.Position })},
	{name: "forgets a member when another one joins", breaks: steady, schedule: three + "9s start d\n10s start a\n",
		channel: view(func(v *backend.View) {
			if len(v.Members) == 4 && v.Position < 2 {
				v.Members = slices.Delete(v.Members, 2, 3)
			}
		})},
	{name: "delivers nothing after an outage", breaks: oneView, schedule: three + "500ms for 200ms server stop", driver: onceOnly},
	{name: "keeps who has crashed", breaks: oneView, schedule: three + "500ms kill c", channel: keepsTheDead},
	{name: "does not say that it was cut off", breaks: status, schedule: "isolation hold\n" + three + "500ms for 2500ms cut a",
		channel: view(func(v *backend.View) { v.Status = backend.Attached })},
	{name: "does not merge what an exchange brings", breaks: reach, schedule: "0s start a b\n1s kill a\n1500ms start c\n", channel: func(c *bentChannel) { c.noState = true }},
	{name: "gives a state up whose Merge has panicked", breaks: reach, schedule: three + "300ms for 500ms panic b s", channel: func(c *bentChannel) { c.givesUp = true }},
	{name: "alters bytes", breaks: intact, schedule: three + "1s start a", channel: func(c *bentChannel) { c.alters = true }},
	{name: "is never ready", breaks: ready, schedule: three + "1s start a", channel: view(func(v *backend.View) { v.Ready = backend.Settling })},
	{name: "holds updates of one state back", breaks: once, schedule: three + "500ms start a", channel: func(c *bentChannel) { c.late = 3 * time.Second }},
	{name: "leaves silently", breaks: parting, schedule: three + "500ms start a", driver: leavesSilently},
	{name: "never ends Close", breaks: lifecycle, schedule: three + "500ms leave b", channel: func(c *bentChannel) { c.hangs = true }},
	{name: "leaks a goroutine for each link", breaks: resources, schedule: "0s start a b\n500ms reopen b", driver: leaksGoroutine, alone: true},
	{name: "leaves its subscription", breaks: resources, schedule: three + "500ms leave c", driver: func(d *bent) { d.keeps = true }},
}

func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("most of them show only after a bound has passed")
	}
	defer endLeaks()
	var beside sync.WaitGroup // they mostly wait, so more run at once than there are processors
	for _, m := range mutants {
		if !m.alone {
			beside.Go(func() { t.Run(m.name, func(t *testing.T) { m.mustDie(t) }) })
		}
	}
	beside.Wait()
	for _, m := range mutants {
		if m.alone {
			t.Run(m.name, func(t *testing.T) { m.mustDie(t) })
		}
	}
}

func TestEveryPromiseHasAMutant(t *testing.T) {
	for _, p := range promises {
		if !slices.ContainsFunc(mutants, func(m mutant) bool { return m.breaks == p }) {
			t.Errorf("no mutant breaks %s: it is not yet a promise", p.name)
		}
	}
}

// hasty are bounds that a sound memory backend keeps easily.
var hasty = bounds{
	detect: 1500 * time.Millisecond, views: 4 * time.Second, ready: 5 * time.Second, whole: 5 * time.Second,
	leave: 3 * time.Second, turn: time.Second, gone: 3 * time.Second, hang: 4 * time.Second,
}

func (m mutant) mustDie(t *testing.T) {
	h := memoryHarness()
	sound := h.Driver
	h.Driver = func(t testing.TB, n conformance.Node) driver.OpenFunc { return bend(sound(t, n), m.driver) }
	s, err := Parse("seed 1\n" + m.schedule)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Replay: s, Dir: t.TempDir(), bounds: &hasty, beside: !m.alone, channel: decorated(m.channel)}
	r, err := run(t.Context(), h, h.Server(t), o)
	switch {
	case err != nil:
		t.Fatal(err)
	case len(r.Violations) == 0:
		t.Fatalf("a backend that %s passes", m.name)
	case r.Violations[0].Promise != m.breaks.name:
		t.Errorf("a backend that %s breaks %s, want %s: %v", m.name, r.Violations[0].Promise, m.breaks.name, r.Violations[0])
	}
	t.Logf("%-45s x %-10s %.150s", m.name, m.breaks.name, r.Violations[0].Text)
}

// bent is a driver with a fault.
type bent struct {
	driver.Driver
	options driver.Options
	out     func([]byte) bool // reports whether a frame goes on
	in      func([]byte) bool
	keeps   bool // what it has subscribed to
}

func bend(inner driver.OpenFunc, with func(*bent)) driver.OpenFunc {
	if with == nil {
		return inner
	}
	return func(ctx context.Context, o driver.Options) (driver.Driver, error) {
		d, err := inner(ctx, o)
		if err != nil {
			return nil, err
		}
		b := &bent{Driver: d, options: o}
		with(b)
		return b, nil
	}
}

func (d *bent) Serve(ctx context.Context, h driver.Handler) error {
	return d.Driver.Serve(ctx, &bentHandler{Handler: h, in: d.in})
}

func (d *bent) Broadcast(ctx context.Context, b []byte) error {
	if d.out != nil && !d.out(b) {
		return nil
	}
	return d.Driver.Broadcast(ctx, b)
}

func (d *bent) Close(ctx context.Context) error {
	if d.keeps {
		return nil
	}
	return d.Driver.Close(ctx)
}

type bentHandler struct {
	driver.Handler
	in func([]byte) bool
}

func (h *bentHandler) Frame(b []byte) {
	if h.in == nil || h.in(b) {
		h.Handler.Frame(b)
	}
}

// served are the instances that had a link before.
var served sync.Map

// onceOnly lets the first link of each node deliver, and no later one.
func onceOnly(d *bent) {
	if _, again := served.LoadOrStore(d.options.Self.Instance, true); again {
		d.in = func([]byte) bool { return false }
	}
}

// leavesSilently loses what a node sends once it closes.
func leavesSilently(d *bent) {
	instance := d.options.Self.Instance
	d.out = func([]byte) bool {
		_, closing := closings.Load(instance)
		return !closing
	}
}

// closings are the instances whose Close was called.
var closings sync.Map

var leaks struct {
	mu  sync.Mutex
	end []chan struct{}
}

func leaksGoroutine(*bent) {
	end := make(chan struct{})
	leaks.mu.Lock()
	defer leaks.mu.Unlock()
	leaks.end = append(leaks.end, end)
	go func() { <-end }()
}

// endLeaks ends what mutants have leaked.
func endLeaks() {
	leaks.mu.Lock()
	defer leaks.mu.Unlock()
	for _, end := range leaks.end {
		close(end)
	}
	leaks.end = nil
}

// bentChannel is a channel with a fault.
type bentChannel struct {
	backend.ClusterChannel
	view                            func(backend.View) backend.View
	noState, givesUp, alters, hangs bool
	late                            time.Duration // that updates of delivered are held back
}

func decorated(with func(*bentChannel)) opener {
	return func(ctx context.Context, config backend.Config) (backend.ClusterChannel, error) {
		inner, err := backend.Open(ctx, config)
		if err != nil {
			return nil, err
		}
		c := &bentChannel{ClusterChannel: inner}
		if with != nil {
			with(c)
		}
		return c, nil
	}
}

// view alters every view of a channel.
func view(alter func(*backend.View)) func(*bentChannel) {
	return func(c *bentChannel) {
		c.view = func(v backend.View) backend.View { alter(&v); return v }
	}
}

// keepsTheDead never drops a member.
func keepsTheDead(c *bentChannel) {
	var mu sync.Mutex
	var kept backend.View
	c.view = func(v backend.View) backend.View {
		mu.Lock()
		defer mu.Unlock()
		if len(v.Members) < len(kept.Members) {
			v.Members, v.Position = kept.Members, kept.Position
		}
		kept = v
		return v
	}
}

func (c *bentChannel) View() backend.View {
	v := c.ClusterChannel.View()
	if c.view != nil {
		v = c.view(v)
	}
	return v
}

func (c *bentChannel) Watch(ctx context.Context) iter.Seq[backend.View] {
	return func(yield func(backend.View) bool) {
		for range c.ClusterChannel.Watch(ctx) {
			if !yield(c.View()) {
				return
			}
		}
	}
}

func (c *bentChannel) Close(ctx context.Context) error {
	closings.Store(c.ClusterChannel.View().Self().Instance, true)
	err := c.ClusterChannel.Close(ctx)
	if c.hangs {
		leaksGoroutine(nil)
		leaks.mu.Lock()
		end := leaks.end[len(leaks.end)-1]
		leaks.mu.Unlock()
		<-end
	}
	return err
}

func (c *bentChannel) AddState(key string, s backend.State, o *backend.StateOptions) (backend.Channel, error) {
	channel, err := c.ClusterChannel.AddState(key, &bentState{State: s, owner: c}, o)
	if err == nil && c.late > 0 && key == delivered {
		return lateChannel{channel, c.late}, nil
	}
	return channel, err
}

// lateChannel holds updates back.
type lateChannel struct {
	backend.Channel
	by time.Duration
}

func (c lateChannel) Broadcast(b []byte) {
	b = bytes.Clone(b)
	time.AfterFunc(c.by, func() { c.Channel.Broadcast(b) })
}

type bentState struct {
	backend.State
	owner *bentChannel
	gave  atomic.Bool
}

func (s *bentState) MarshalBinary() ([]byte, error) {
	if s.owner.noState || s.owner.late > 0 {
		return nil, errors.New("there is none")
	}
	return s.State.MarshalBinary()
}

func (s *bentState) Merge(b []byte) error {
	if s.owner.alters && len(b) > 20 {
		b[len(b)-1] ^= 1
	}
	if s.gave.Load() {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			s.gave.Store(s.owner.givesUp)
			panic(p)
		}
	}()
	return s.State.Merge(b)
}
