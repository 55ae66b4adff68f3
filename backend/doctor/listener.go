package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/internal/codec"
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// A Listener is an open driver without the portable layer above it: it sends
// nothing by itself, so the members of a plain bus do not notice it. It serves
// one goroutine.
type Listener struct {
	driver.Driver
	e      driver.Examination
	h      *handler
	end    context.CancelFunc // of Serve
	served chan struct{}
}

// Listen opens a driver within e.Timeout. If opening the driver makes the node
// a member, an examination must not open it.
func Listen(ctx context.Context, e driver.Examination, open driver.OpenFunc) (*Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	h := &handler{self: e.Self.Instance, heard: make(chan uint64, 1), members: map[string]bool{}, beats: map[string]*core.Heartbeat{}}
	d, err := open(ctx, e.Options)
	if err != nil {
		return nil, err
	}
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	l := &Listener{Driver: d, e: e, h: h, end: end, served: make(chan struct{})}
	go func() {
		defer close(l.served)
		_ = d.Serve(serving, h) // if the link is lost, nothing is heard
	}()
	return l, nil
}

// Close closes the driver. It takes at most e.Timeout.
func (l *Listener) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), l.e.Timeout)
	defer cancel()
	l.end()
	select {
	case <-l.served:
	case <-ctx.Done():
	}
	_ = l.Driver.Close(ctx) // its findings are no longer needed
}

// Probe returns a frame that every member recognizes and ignores, because it is
// addressed to the examination alone.
func Probe(e driver.Examination) []byte {
	frame, _ := probe(e)
	return frame
}

// probe also returns the number in the frame.
func probe(e driver.Examination) ([]byte, uint64) {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		panic(err) // there is no such error
	}
	id := n.Uint64() + 1
	return codec.Encode(wire.NewEncoder(e.Cluster, e.Self.Instance), &core.Pull{To: e.Self.Instance, ID: id}), id
}

// Hear sends a frame with a nonce in the same way as the cluster's frames,
// waits for it, and then reports which members are heard.
func (l *Listener) Hear(ctx context.Context) {
	const name, tried = "delivery", "send a frame with a nonce to the cluster and hear it"
	ctx, cancel := context.WithTimeout(ctx, l.e.Timeout)
	defer cancel()
	if l.hear(ctx, l, name, tried, "check what is in between: a proxy that answers for the server, servers that are not one cluster, or a full output buffer") {
		l.listen(ctx)
	}
}

// HearFrom sends a frame from another Listener, at another server, and waits for it
// here: each server may be sound, and the two not of one cluster. fix says what to do
// then.
func (l *Listener) HearFrom(ctx context.Context, from *Listener, tried, fix string) {
	ctx, cancel := context.WithTimeout(ctx, l.e.Timeout)
	defer cancel()
	l.hear(ctx, from, "cluster", tried, fix)
}

// hear reports whether a frame that from sends is heard here before ctx is done.
func (l *Listener) hear(ctx context.Context, from *Listener, name, tried, fix string) bool {
	frame, id := probe(l.e)
	began := time.Now()
	if err := from.Broadcast(ctx, frame); err != nil {
		l.e.Fail(name, tried, err, Advice(err, "the server accepted the connection, but not the frame"))
		return false
	}
	for {
		select {
		case got := <-l.h.heard:
			if got == id {
				l.e.OK(name, tried, Heard(began))
				return true
			}
		case <-ctx.Done():
			l.e.Fail(name, tried, errors.New("it was accepted, but not delivered"), fix)
			return false
		}
	}
}

// Heard says how long it took to hear a frame that was sent at began.
func Heard(began time.Time) string {
	return fmt.Sprintf("heard after %v", time.Since(began).Round(10*time.Microsecond))
}

// listenFor is longer than four intervals in a cluster of ten: one heartbeat of four at
// least tells the name.
const listenFor = 2400 * time.Millisecond

// listen reports the members that it hears.
func (l *Listener) listen(ctx context.Context) {
	timer := time.NewTimer(listenFor)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	Members(l.e, "listen for the members' heartbeats", l.h.names())
	l.compare(ctx)
}

// lookEvery is how often the members' views are compared while they differ.
const lookEvery = 100 * time.Millisecond

// compare reports whom members do not hear. Views differ for some heartbeats when
// somebody comes or goes: only what lasts is reported.
func (l *Listener) compare(ctx context.Context) {
	const name, tried = "views", "compare the views that the members tell in their heartbeats"
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		texts, members := l.h.disputes()
		switch {
		case members < 2:
			return
		case len(texts) == 0:
			l.e.OK(name, tried, "all are the same")
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			l.e.Fail(name, tried, errors.New(strings.Join(texts, "; ")), "see that traffic passes both ways between these nodes, and look at their links to the server")
			return
		}
	}
}

// Members reports the members found.
func Members(e driver.Examination, tried string, names []string) {
	if len(names) == 0 {
		e.OK("members", tried, "none: no node is in this cluster now, or it has another name there")
		return
	}
	e.OK("members", tried, fmt.Sprintf("%d: %s", len(names), strings.Join(slices.Sorted(slices.Values(names)), ", ")))
}

// handler is the Handler of a Listener.
type handler struct {
	self  string
	heard chan uint64 // the nonces of own frames

	mu      sync.Mutex
	members map[string]bool
	beats   map[string]*core.Heartbeat // the last one of each instance
}

// Frame implements [driver.Handler].
func (h *handler) Frame(b []byte) {
	var f wire.Frame
	if wire.Decode(b, &f) != nil || !f.Kind.IsMessage() {
		return
	}
	m, err := codec.Decode(f.Kind, slices.Clone(f.Message))
	if err != nil {
		return
	}
	own := string(f.Origin) == h.self
	switch m := m.(type) {
	case *core.Pull:
		if !own {
			return
		}
		select {
		case h.heard <- m.ID:
		default: // one is enough
		}
	case *core.Heartbeat:
		if own || m.Member.Name == "" {
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.members[m.Member.Name] = true
		h.beats[string(f.Origin)] = m
	case *core.Goodbye:
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.beats, string(f.Origin))
	}
}

// disputes says whose views are not that of all that were heard, as these nodes
// say it themselves, and how many were heard.
func (h *handler) disputes() (texts []string, members int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := slices.Sorted(maps.Keys(h.beats))
	for _, id := range all {
		beat := h.beats[id]
		if beat.View == core.DigestOf(all...) {
			continue
		}
		text := fmt.Sprintf("%s hears %d members, of %d that were heard", beat.Member.Name, beat.View.Count, len(all))
		for i, other := range all {
			if rest := slices.Delete(slices.Clone(all), i, i+1); other != id && beat.View == core.DigestOf(rest...) {
				text = beat.Member.Name + " does not hear " + h.beats[other].Member.Name
			}
		}
		texts = append(texts, text)
	}
	slices.Sort(texts)
	return texts, len(all)
}

// Members adds to the members that were heard.
func (h *handler) Members(all []driver.Member) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range all {
		if m.Instance != h.self {
			h.members[m.Name] = true
		}
	}
}

func (h *handler) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Collect(maps.Keys(h.members))
}

func (*handler) Reject(driver.Reason, error)        {}
func (*handler) Link(error)                         {}
func (*handler) Left(driver.Member)                 {}
func (*handler) Probe(string, time.Duration, error) {}
func (*handler) Trouble(string, error)              {}
func (*handler) Lost(driver.Member, error)          {}
func (*handler) LocalState() []byte                 { return nil }
func (*handler) MergeState([]byte)                  {}

var _ driver.Handler = (*handler)(nil)
