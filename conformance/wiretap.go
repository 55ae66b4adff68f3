package conformance

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// wiretap stands between one node's portable layer and its driver. It passes
// frames on, and counts, keeps, loses, forges or holds them when a check asks
// for it. It outlives the drivers that the portable layer opens one after
// another.
type wiretap struct {
	inner driver.OpenFunc

	mu       sync.Mutex
	faults   []string           // promises of package driver that were broken
	seen     sightings          // what passed
	caps     driver.Caps        // of the newest driver
	newest   driver.Driver      // nil: none was opened
	attached func()             // called with each new subscription; nil: nothing is
	telling  int                // calls of attached that have not returned
	marks    []string           // those that were heard, in order
	handler  driver.Handler     // of the driver that serves
	lose     context.CancelFunc // ends the link of the driver that serves
	deaf     bool               // frames vanish both ways
	ignore   string             // an instance: its frames in vanish, and no list has it; empty: none
	listed   []driver.Member    // as the driver listed them last
	frozen   chan struct{}      // calls in wait until it is closed; nil: they do not
	stalled  chan struct{}      // frames out wait until it is closed; nil: they do not
	loses    func([]byte) bool  // frames out that vanish
	saw      func([]byte)       // sees every frame out
	kept     [][]byte           // the latest frames out
	frames   int                // frames out
	bytes    int                // their size
	opens    int                // drivers opened
	refused  int                // what drivers refused themselves
	scribble bool               // overwrite every buffer after the call that lent it
}

// keep is how many frames a wiretap remembers.
const keep = 64

// open is the driver.OpenFunc of the node.
func (p *wiretap) open(ctx context.Context, o driver.Options) (driver.Driver, error) {
	given := maps.Clone(o.Params)
	d, err := p.inner(ctx, o)
	if !maps.Equal(given, o.Params) {
		p.fault("Open changed Options.Params, with which it is called again")
	}
	if err != nil {
		p.notOpened(err)
		switch {
		case d != nil:
			p.fault("Open returned a driver beside the error %q", err)
		case ctx.Err() == nil && !errors.Is(err, driver.ErrConfig) && !errors.Is(err, driver.ErrUnavailable):
			p.fault("Open returned the error %q, want what wraps ErrConfig or ErrUnavailable: nobody knows whether to try again", err)
		}
		return nil, err
	}
	caps := d.Caps()
	p.mu.Lock()
	p.caps, p.newest = caps, d
	p.opens++
	p.seen.self = o.Self.Instance
	p.mu.Unlock()
	p.subscription()()
	return &tappedDriver{tap: p, inner: d, caps: caps}, nil
}

func (p *wiretap) fault(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.faults) < 10 {
		p.faults = append(p.faults, fmt.Sprintf(format, args...))
	}
}

// broken returns the broken promises.
func (p *wiretap) broken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults
}

// inject hands the portable layer a frame as if the driver had received it.
func (p *wiretap) inject(frame []byte) {
	p.mu.Lock()
	h := p.handler
	p.mu.Unlock()
	if h != nil {
		h.Frame(bytes.Clone(frame))
	}
}

// giveUp makes the portable layer open another driver, as if this one had given
// up.
func (p *wiretap) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose()
}

// setDeaf makes frames vanish both ways, with no error, or stops that.
func (p *wiretap) setDeaf(deaf bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = deaf
}

func (p *wiretap) isDeaf() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deaf
}

// stall holds outgoing frames until the returned function is called.
func (p *wiretap) stall() (release func()) {
	c := make(chan struct{})
	p.mu.Lock()
	p.stalled = c
	p.mu.Unlock()
	return sync.OnceFunc(func() {
		p.mu.Lock()
		p.stalled = nil
		p.mu.Unlock()
		close(c)
	})
}

// setIgnore makes the frames in of one instance vanish, and takes it from the lists
// of a transport that knows its members. Empty stops that.
func (p *wiretap) setIgnore(instance string) {
	p.mu.Lock()
	p.ignore = instance
	h, listed := p.handler, p.listed
	p.mu.Unlock()
	if h != nil && listed != nil {
		h.Members(p.visible(listed))
	}
}

// visible returns a list without who is ignored.
func (p *wiretap) visible(listed []driver.Member) []driver.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listed = listed
	return slices.DeleteFunc(slices.Clone(listed), func(m driver.Member) bool { return p.ignore != "" && m.Instance == p.ignore })
}

// ignores reports whether a frame in is to vanish.
func (p *wiretap) ignores(frame []byte) bool {
	p.mu.Lock()
	ignore := p.ignore
	p.mu.Unlock()
	var f wire.Frame
	return ignore != "" && wire.Decode(frame, &f) == nil && string(f.Origin) == ignore
}

// freeze holds back all frames, in and out, until resume is called: as a process
// that stands still.
func (p *wiretap) freeze() (resume func()) {
	out := p.stall()
	c := make(chan struct{})
	p.mu.Lock()
	p.frozen = c
	p.mu.Unlock()
	return sync.OnceFunc(func() {
		p.mu.Lock()
		p.frozen = nil
		p.mu.Unlock()
		close(c)
		out()
	})
}

// thawed waits while the tap is frozen.
func (p *wiretap) thawed() {
	p.mu.Lock()
	c := p.frozen
	p.mu.Unlock()
	if c != nil {
		<-c
	}
}

// setLose makes outgoing frames vanish for which lose returns true; nil stops
// that.
func (p *wiretap) setLose(lose func([]byte) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loses = lose
}

// setSaw calls saw with every outgoing frame; nil stops that.
func (p *wiretap) setSaw(saw func([]byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.saw = saw
}

// setScribble overwrites every frame once the call that carried it has returned.
func (p *wiretap) setScribble() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scribble = true
}

// refuse counts what a driver refuses itself.
func (p *wiretap) refuse(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused++
	p.seen.rejected = err
}

// recent returns copies of the latest frames out.
func (p *wiretap) recent() [][]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([][]byte(nil), p.kept...)
}

// sent returns how many frames went out, and how many bytes in all.
func (p *wiretap) sent() (frames, size int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frames, p.bytes
}

// opened returns how many drivers were opened.
func (p *wiretap) opened() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opens
}

// native reports whether the transport knows its members by itself.
func (p *wiretap) native() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.caps.Membership
}

// out notes a frame and reports whether it goes on to the driver.
func (p *wiretap) out(ctx context.Context, frame []byte) (bool, error) {
	p.mu.Lock()
	p.frames++
	p.bytes += len(frame)
	p.seen.out = time.Now()
	if len(frame) <= 64<<10 {
		if p.kept = append(p.kept, bytes.Clone(frame)); len(p.kept) > keep {
			p.kept = p.kept[1:]
		}
	}
	stalled, lose, saw, deaf := p.stalled, p.loses, p.saw, p.deaf
	p.mu.Unlock()
	if saw != nil {
		saw(frame)
	}
	if stalled != nil {
		select {
		case <-stalled:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	return !deaf && (lose == nil || !lose(frame)), nil
}

// lent returns the buffer to hand on instead of b, and a function to call after
// that.
func (p *wiretap) lent(b []byte) (buf []byte, back func()) {
	p.mu.Lock()
	scribble := p.scribble
	p.mu.Unlock()
	if !scribble {
		return b, func() {}
	}
	const spare = 64
	whole := append(bytes.Clone(b), bytes.Repeat([]byte{0xa5}, spare)...)
	given := bytes.Clone(whole)
	buf = whole[:len(b)]
	return buf, func() {
		if !bytes.Equal(whole, given) {
			p.fault("a frame of %d bytes, or the memory behind it, was changed by whom it was lent to", len(b))
		}
		overwrite(buf)
	}
}

func overwrite(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}

// tappedDriver is the driver as the portable layer sees it.
type tappedDriver struct {
	tap   *wiretap
	inner driver.Driver
	caps  driver.Caps
}

func (d *tappedDriver) Serve(ctx context.Context, h driver.Handler) error {
	link, lose := context.WithCancel(ctx)
	defer lose()
	d.tap.mu.Lock()
	d.tap.handler, d.tap.lose = h, lose
	d.tap.mu.Unlock()
	th := &tappedHandler{tap: d.tap, Handler: h}
	defer th.end()
	err := d.inner.Serve(link, th)
	switch {
	case link.Err() != nil && ctx.Err() == nil:
		return fmt.Errorf("the suite makes the driver give up: %w", driver.ErrUnavailable)
	case ctx.Err() == nil:
		d.tap.told(cmp.Or(err, errors.New("Serve returned without a reason")))
	default:
		d.tap.ended(th.words.Load() <= 1)
	}
	if ctx.Err() == nil && !errors.Is(err, driver.ErrUnavailable) {
		d.tap.fault("Serve returned %v before its context had ended, want what wraps ErrUnavailable", err)
	}
	return err
}

func (d *tappedDriver) Broadcast(ctx context.Context, frame []byte) error {
	return d.send(ctx, "Broadcast", frame, d.inner.Broadcast)
}

func (d *tappedDriver) send(ctx context.Context, what string, frame []byte, send func(context.Context, []byte) error) error {
	if ok, err := d.tap.out(ctx, frame); !ok {
		return err
	}
	buf, back := d.tap.lent(frame)
	defer back()
	start := time.Now()
	err := send(ctx, buf)
	d.tap.sending(err)
	if deadline, ok := ctx.Deadline(); ok && time.Now().After(deadline.Add(overtime)) {
		d.tap.fault("%s took %v, past its context's end", what, time.Since(start).Round(time.Millisecond))
	}
	if err == nil && d.caps.MaxFrame > 0 && len(frame) > d.caps.MaxFrame {
		d.tap.fault("%s took a frame of %d bytes; Caps.MaxFrame is %d", what, len(frame), d.caps.MaxFrame)
	}
	return err
}

// overtime is how late a driver may notice that a context has ended.
const overtime = 5 * time.Second

func (d *tappedDriver) Caps() driver.Caps {
	caps := d.caps
	if caps.Send != nil {
		caps.Send = func(ctx context.Context, to driver.Member, frame []byte) error {
			return d.send(ctx, "Send", frame, func(ctx context.Context, b []byte) error { return d.caps.Send(ctx, to, b) })
		}
	}
	if caps.Updates != nil {
		caps.Updates = func(ctx context.Context, updates iter.Seq2[string, []byte]) (bool, error) {
			if d.tap.isDeaf() {
				return false, nil
			}
			return d.caps.Updates(ctx, updates)
		}
	}
	return caps
}

func (d *tappedDriver) Close(ctx context.Context) error { return d.inner.Close(ctx) }

// tappedHandler is the portable layer as the driver sees it.
type tappedHandler struct {
	driver.Handler
	tap   *wiretap
	words atomic.Int64 // calls of Link

	mu    sync.Mutex
	ended bool // Serve has returned
}

func (h *tappedHandler) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
}

// live reports whether a call may go on, and notes a call that comes too late.
func (h *tappedHandler) live(what string) bool {
	h.mu.Lock()
	ended := h.ended
	h.mu.Unlock()
	if ended {
		h.tap.fault("the driver called Handler.%s after Serve had returned", what)
		return false
	}
	return true
}

// hears is live for what comes from the others.
func (h *tappedHandler) hears(what string) bool {
	return h.live(what) && !h.tap.isDeaf()
}

func (h *tappedHandler) Frame(b []byte) {
	h.tap.thawed()
	if !h.hears("Frame") || h.tap.ignores(b) || h.tap.arrived(b) {
		return
	}
	buf, back := h.tap.lent(b)
	defer back()
	h.Handler.Frame(buf)
}

func (h *tappedHandler) Reject(why driver.Reason, err error) {
	if h.hears("Reject") {
		h.tap.refuse(err)
		h.Handler.Reject(why, err)
	}
}

func (h *tappedHandler) Link(err error) {
	if !h.live("Link") {
		return
	}
	h.words.Add(1)
	tell := func() {}
	if err == nil {
		tell = h.tap.subscription()
	}
	h.tap.told(err)
	h.Handler.Link(err)
	go tell() // the driver may hold a lock
}

func (h *tappedHandler) Members(all []driver.Member) {
	if h.hears("Members") {
		h.Handler.Members(h.tap.visible(all))
	}
}

func (h *tappedHandler) Left(m driver.Member) {
	if h.hears("Left") {
		h.Handler.Left(m)
	}
}

func (h *tappedHandler) Probe(target string, rtt time.Duration, err error) {
	if h.hears("Probe") {
		h.Handler.Probe(target, rtt, err)
	}
}

func (h *tappedHandler) Trouble(what string, err error) {
	if h.hears("Trouble") {
		h.Handler.Trouble(what, err)
	}
}

func (h *tappedHandler) Lost(to driver.Member, err error) {
	if h.hears("Lost") {
		h.Handler.Lost(to, err)
	}
}

func (h *tappedHandler) MergeState(b []byte) {
	if !h.hears("MergeState") {
		return
	}
	buf, back := h.tap.lent(b)
	defer back()
	h.Handler.MergeState(buf)
}
