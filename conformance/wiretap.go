package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// wiretap stands between one node's portable layer and its driver. It passes
// frames on, and counts, keeps, loses, forges or holds them when a check asks
// for it. It outlives the drivers that the portable layer opens one after
// another.
type wiretap struct {
	inner driver.OpenFunc

	mu       sync.Mutex
	faults   []string           // promises of package driver that were broken
	caps     driver.Caps        // of the newest driver
	handler  driver.Handler     // of the driver that serves
	lose     context.CancelFunc // ends the link of the driver that serves
	deaf     bool               // frames vanish both ways
	stalled  chan struct{}      // frames out wait until it is closed; nil: they do not
	loses    func([]byte) bool  // frames out that vanish
	saw      func([]byte)       // sees every frame out
	kept     [][]byte           // the latest frames out
	frames   int                // frames out
	bytes    int                // their size
	opens    int                // drivers opened
	scribble bool               // overwrite every buffer after the call that lent it
}

// keep is how many frames a wiretap remembers.
const keep = 64

// open is the driver.OpenFunc of the node.
func (p *wiretap) open(ctx context.Context, o driver.Options) (driver.Driver, error) {
	d, err := p.inner(ctx, o)
	if err != nil {
		if d != nil {
			p.fault("Open returned a driver beside the error %q", err)
		}
		return nil, err
	}
	caps := d.Caps()
	p.mu.Lock()
	p.caps = caps
	p.opens++
	p.mu.Unlock()
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
	buf = bytes.Clone(b)
	return buf, func() { overwrite(buf) }
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
	case ctx.Err() == nil && !errors.Is(err, driver.ErrUnavailable):
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
	tap *wiretap

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
	if !h.hears("Frame") {
		return
	}
	buf, back := h.tap.lent(b)
	defer back()
	h.Handler.Frame(buf)
}

func (h *tappedHandler) Reject(why driver.Reason, err error) {
	if h.hears("Reject") {
		h.Handler.Reject(why, err)
	}
}

func (h *tappedHandler) Link(err error) {
	if h.live("Link") {
		h.Handler.Link(err)
	}
}

func (h *tappedHandler) Members(all []driver.Member) {
	if h.hears("Members") {
		h.Handler.Members(all)
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

func (h *tappedHandler) MergeState(b []byte) {
	if !h.hears("MergeState") {
		return
	}
	buf, back := h.tap.lent(b)
	defer back()
	h.Handler.MergeState(buf)
}
