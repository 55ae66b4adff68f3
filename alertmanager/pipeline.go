package alertmanager

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
)

// sendLimit is how long a notification that is being sent may still take when
// the dispatcher stops.
const sendLimit = 5 * time.Second

// pipeline runs the flushes of one dispatcher, and ends them before the
// dispatcher stops. A flush that waits for its turn is given up at once. One
// that is sending goes on until it is in the notification log: if it were cut
// off, its receiver might have the notification, and get it again from the next
// instance.
type pipeline struct {
	stage notify.Stage

	mu      sync.Mutex
	halted  bool
	flushes map[*flush]struct{}
	empty   chan struct{} // closed once it is halted and no flush is left
}

// flush is one run of the pipeline.
type flush struct {
	cancel context.CancelFunc
	sends  bool // a receiver may have got something
}

type flushKey struct{}

func newPipeline(stage notify.Stage) *pipeline {
	return &pipeline{stage: stage, flushes: map[*flush]struct{}{}, empty: make(chan struct{})}
}

// Exec implements notify.Stage. Once the pipeline is halted it waits for the
// dispatcher's stop, which is then the reason of the failure.
func (p *pipeline) Exec(outer context.Context, l *slog.Logger, alerts ...*alert.Alert) (context.Context, []*alert.Alert, error) {
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	f := &flush{cancel: cancel}
	if !p.enter(f) {
		<-outer.Done()
		return outer, nil, outer.Err()
	}
	_, alerts, err := p.stage.Exec(context.WithValue(ctx, flushKey{}, f), l, alerts...)
	if p.leave(f) && err != nil {
		<-outer.Done()
	}
	return outer, alerts, err
}

func (p *pipeline) enter(f *flush) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.halted {
		p.flushes[f] = struct{}{}
	}
	return !p.halted
}

// leave reports whether the pipeline is halted.
func (p *pipeline) leave(f *flush) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.flushes, f)
	p.checkEmpty()
	return p.halted
}

func (p *pipeline) checkEmpty() {
	if p.halted && len(p.flushes) == 0 {
		close(p.empty)
	}
}

// begin is called before a notification is sent, and reports whether it may be.
func (p *pipeline) begin(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.halted {
		return context.Canceled
	}
	if f, ok := ctx.Value(flushKey{}).(*flush); ok {
		f.sends = true
	}
	return nil
}

// halt stops the pipeline, and returns when no flush is left. It is called
// once.
func (p *pipeline) halt() {
	p.giveUp(false)
	limit := time.NewTimer(sendLimit)
	defer limit.Stop()
	select {
	case <-p.empty:
		return
	case <-limit.C:
	}
	p.giveUp(true)
	<-p.empty
}

// giveUp cancels the flushes that wait, or all.
func (p *pipeline) giveUp(all bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for f := range p.flushes {
		if all || !f.sends {
			f.cancel()
		}
	}
	if !p.halted {
		p.halted = true
		p.checkEmpty()
	}
}
