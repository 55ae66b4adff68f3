package backend

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// maxTodo is how many effects may wait to be carried out, before frames that
// would cause more are refused.
const maxTodo = 4096

// engine is the core and the one lock around it. Whoever has something to tell
// the core steps it; what the core then wants done is carried out by one loop, in
// order.
type engine struct {
	began  time.Time             // a moment before the engine was made: 0 is no time of the core's
	adopt  func(core.Effect) any // makes of an effect what can be carried out later
	wake   chan struct{}         // there is something to do, or Next is sooner than the loop waits for
	closed atomic.Int64          // when the channel was closed, since began; 0: it is open

	mu      sync.Mutex
	core    *core.Core
	todo    []any
	until   time.Duration             // what the loop waits for, as Next told it
	changed chan struct{}             // closed and replaced at every change of the view
	view    atomic.Pointer[core.View] // as the core last published it
}

func newEngine(cfg core.Config, adopt func(core.Effect) any) *engine {
	e := &engine{began: time.Now().Add(-time.Second), adopt: adopt, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	e.core = core.New(cfg, e.now())
	e.mu.Lock()
	defer e.mu.Unlock()
	e.collect()
	return e
}

// now is the core's time.
func (e *engine) now() time.Duration { return e.at(time.Now()) }

// at is the core's time at t.
func (e *engine) at(t time.Time) time.Duration { return t.Sub(e.began) }

// step tells the core what has happened.
func (e *engine) step(ev core.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.core.Step(e.now(), ev)
	e.collect()
}

// collect takes over what the core wants done and has it carried out. e.mu is
// held.
func (e *engine) collect() {
	for _, f := range e.core.Effects() {
		if t := e.adopt(f); t != nil {
			e.todo = append(e.todo, t)
		}
	}
	if v := e.core.View(); v != e.view.Load() {
		e.view.Store(v)
		e.notify()
	}
	if len(e.todo) > 0 || e.core.Next() < e.until {
		signal(e.wake)
	}
}

// notify wakes who watches the view. e.mu is held.
func (e *engine) notify() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// watch returns a channel that is closed at the next change of the view.
func (e *engine) watch() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// current returns the view. A process that stood still learns it here, before
// anybody acts on what was true before.
func (e *engine) current() *core.View {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := e.now(); e.core.Late(now) {
		e.core.Step(now, core.Tick{})
		e.collect()
	}
	return e.view.Load()
}

// close has watchers see that the channel is closed.
func (e *engine) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed.Store(max(int64(e.now()), 1))
	e.notify()
}

// full reports whether more waits to be carried out than should.
func (e *engine) full() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.todo) > maxTodo
}

// take returns what is to be carried out, and when the core wants a tick.
func (e *engine) take() (todo []any, next time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	todo = e.todo
	e.todo, e.until = nil, e.core.Next()
	return todo, e.until
}

// tick gives the core a tick, unless it has put off what was due meanwhile.
func (e *engine) tick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := e.now(); e.core.Next() <= now {
		e.core.Step(now, core.Tick{})
		e.collect()
	}
}

// run carries out what the core wants done, and gives it its ticks, until done is
// closed.
func (e *engine) run(done <-chan struct{}, carryOut func(any)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		todo, next := e.take()
		for _, t := range todo {
			carryOut(t)
		}
		if len(todo) > 0 {
			continue
		}
		if next == core.Never {
			timer.Stop()
		} else { // what is due now is so in a moment too, and a clock may be coarse
			timer.Reset(max(next-e.now(), time.Millisecond))
		}
		select {
		case <-e.wake:
		case <-timer.C:
			e.tick()
		case <-done:
			return
		}
	}
}
