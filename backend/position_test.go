package backend_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

func TestPrimary(t *testing.T) {
	for _, c := range []struct {
		position int
		status   backend.Status
		want     bool
	}{
		{0, backend.Attached, true},
		{1, backend.Attached, false},
		{0, backend.Detached, false},
		{0, backend.Closed, false},
	} {
		if got := (backend.View{Position: c.position, Status: c.status}).Primary(); got != c.want {
			t.Errorf("position %d, %v: Primary() = %v, want %v", c.position, c.status, got, c.want)
		}
	}
	if (backend.View{}).Primary() {
		t.Error("the zero View is primary")
	}
}

func viewOf(self int, names ...string) backend.View {
	v := backend.View{Position: self, Status: backend.Attached}
	for i, name := range names {
		v.Members = append(v.Members, backend.Member{Name: name, Instance: fmt.Sprintf("%02d", i)})
	}
	return v
}

func TestOwnerMovesOnlyWhatItMust(t *testing.T) {
	three, two := viewOf(0, "a", "b", "c"), viewOf(0, "a", "c")
	const keys = 3000
	count := map[string]int{}
	for i := range keys {
		key := fmt.Sprintf("key-%d", i)
		before, after := three.Owner(key), two.Owner(key)
		count[before.Name]++
		if before.Name != "b" && after.Name != before.Name {
			t.Fatalf("%s moved from %s to %s though b left", key, before.Name, after.Name)
		}
	}
	for _, name := range []string{"a", "b", "c"} {
		if n := float64(count[name]); math.Abs(n-keys/3) > keys/3*0.2 {
			t.Errorf("%s owns %v of %d keys, want about a third", name, n, keys)
		}
	}
}

func TestOwnerSurvivesRestart(t *testing.T) {
	before := viewOf(0, "a", "b", "c")
	after := viewOf(0, "a", "b", "c")
	for i := range after.Members {
		after.Members[i].Instance = fmt.Sprintf("restarted-%d", 2-i)
	}
	for i := range 100 {
		key := fmt.Sprintf("key-%d", i)
		if b, a := before.Owner(key).Name, after.Owner(key).Name; a != b {
			t.Fatalf("%s moved from %s to %s though the names are the same", key, b, a)
		}
	}
}

func TestOwns(t *testing.T) {
	names := []string{"a", "b", "b", "c"}
	for i := range 100 {
		key := fmt.Sprintf("key-%d", i)
		owners := 0
		for self := range names {
			v := viewOf(self, names...)
			if v.Owns(key) {
				owners++
				if self == 2 {
					t.Errorf("the second b owns %s", key)
				}
			}
			for _, status := range []backend.Status{backend.Detached, backend.Closed} {
				if v.Status = status; v.Owns(key) {
					t.Errorf("a %v node owns %s", status, key)
				}
			}
		}
		if owners != 1 {
			t.Errorf("%s has %d owners, want 1", key, owners)
		}
	}
	none := backend.View{Status: backend.Attached}
	if none.Owns("key") || none.Owner("key").Name != "" {
		t.Error("a View without members has an owner")
	}
}

func TestOrder(t *testing.T) {
	v := viewOf(0, "a", "b", "b", "c")
	for i := range 100 {
		key := fmt.Sprintf("key-%d", i)
		rest := viewOf(0, "a", "b", "b", "c")
		order := slices.Collect(v.Order(key))
		for _, m := range order {
			if owner := rest.Owner(key); owner.Instance != m.Instance {
				t.Fatalf("%s: the order is %v, but %v owns it once those before have left", key, order, owner)
			}
			rest.Members = slices.DeleteFunc(rest.Members, func(o backend.Member) bool { return o.Instance == m.Instance })
		}
		if len(order) != len(v.Members) {
			t.Fatalf("%s: the order is %v, want all of %v", key, order, v.Members)
		}
	}
	for m := range (backend.View{}).Order("key") {
		t.Errorf("a View without members has %v in its order", m)
	}
}

// stage is a channel whose view the test sets.
type stage struct {
	backend.ClusterChannel
	mu      sync.Mutex
	view    backend.View
	changed chan struct{}
}

func newStage(position int) *stage {
	return &stage{view: backend.View{Position: position, Status: backend.Attached}, changed: make(chan struct{})}
}

func (s *stage) set(position int, status backend.Status, isolated bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.Position, s.view.Status, s.view.Isolated, s.view.Err = position, status, isolated, err
	s.view.Epoch++
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stage) now() (backend.View, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view, s.changed
}

func (s *stage) View() backend.View { v, _ := s.now(); return v }

func (s *stage) Watch(ctx context.Context) iter.Seq[backend.View] {
	return func(yield func(backend.View) bool) {
		for {
			v, changed := s.now()
			if !yield(v) || v.Status == backend.Closed {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

func TestWaitTurn(t *testing.T) {
	type step struct {
		at       time.Duration
		position int
		status   backend.Status
		isolated bool
		err      error
	}
	const (
		turn     = 15 * time.Second
		attached = backend.Attached
		detached = backend.Detached
	)
	for name, c := range map[string]struct {
		start int
		turn  time.Duration
		steps []step
		limit time.Duration // of the context; 0: none
		took  time.Duration
		err   error
	}{
		"first":                     {start: 0, turn: turn, took: 0},
		"third":                     {start: 2, turn: turn, took: 2 * turn},
		"no turn":                   {start: 2, turn: 0, took: 0},
		"negative turn":             {start: 2, turn: -turn, took: 0},
		"front leaves":              {start: 2, turn: turn, steps: []step{{at: time.Second, position: 1, status: backend.Attached}}, took: turn},
		"front leaves late":         {start: 2, turn: turn, steps: []step{{at: 20 * time.Second, position: 1, status: backend.Attached}}, took: 20 * time.Second},
		"all in front leave":        {start: 2, turn: turn, steps: []step{{at: time.Second, position: 1, status: backend.Attached}, {at: 2 * time.Second, position: 0, status: backend.Attached}}, took: 2 * time.Second},
		"one joins in front":        {start: 1, turn: turn, steps: []step{{at: time.Second, position: 2, status: backend.Attached}}, took: 2 * turn},
		"away, and back":            {start: 1, turn: turn, steps: []step{{at: time.Second, position: 1, status: detached}, {at: 9 * time.Second, position: 1, status: attached}}, took: turn},
		"away at its turn":          {start: 1, turn: turn, steps: []step{{at: 14 * time.Second, position: 1, status: detached}, {at: 18 * time.Second, position: 1, status: attached}}, took: 18 * time.Second},
		"away, and others in front": {start: 1, turn: turn, steps: []step{{at: 14 * time.Second, position: 1, status: detached}, {at: 18 * time.Second, position: 2, status: attached}}, took: 2 * turn},
		"isolated as sole member":   {start: 1, turn: turn, steps: []step{{at: time.Second, position: 1, status: detached}, {at: 11 * time.Second, position: 0, status: detached, isolated: true}}, took: turn},
		"isolated after its turn":   {start: 1, turn: turn, steps: []step{{at: 10 * time.Second, position: 1, status: detached}, {at: 20 * time.Second, position: 0, status: detached, isolated: true}}, took: 20 * time.Second},
		"began while away": {
			start: 1, turn: turn, took: turn,
			steps: []step{{at: 0, position: 1, status: detached}, {at: 10 * time.Second, position: 0, status: detached, isolated: true}},
		},
		"isolated, and catching up": {
			start: 1, turn: turn, took: 22 * time.Second,
			steps: []step{
				{at: time.Second, position: 1, status: detached},
				{at: 11 * time.Second, position: 0, status: detached, isolated: true},
				{at: 14 * time.Second, position: 0, status: detached, isolated: true, err: backend.ErrCatchingUp},
				{at: 22 * time.Second, position: 1, status: attached},
			},
		},
		"context ends":               {start: 1, turn: turn, limit: time.Second, took: time.Second, err: context.DeadlineExceeded},
		"closed":                     {start: 1, turn: turn, steps: []step{{at: time.Second, position: 1, status: backend.Closed}}, took: time.Second, err: backend.ErrClosed},
		"closed at another position": {start: 2, turn: turn, steps: []step{{at: time.Second, position: 0, status: backend.Closed}}, took: time.Second, err: backend.ErrClosed},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(c.start)
				ctx := t.Context()
				if c.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.limit)
					defer cancel()
				}
				for _, step := range c.steps {
					if step.at == 0 {
						s.set(step.position, step.status, step.isolated, step.err)
						continue
					}
					time.AfterFunc(step.at, func() { s.set(step.position, step.status, step.isolated, step.err) })
				}
				start := time.Now()
				err := backend.WaitTurn(ctx, s, c.turn)
				if took := time.Since(start); took != c.took || !errors.Is(err, c.err) {
					t.Errorf("WaitTurn took %v and returned %v, want %v and %v", took, err, c.took, c.err)
				}
			})
		})
	}
}

func TestWaitTurnWithADoneContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := backend.WaitTurn(ctx, newStage(0), time.Second); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitTurn with a done context: %v, want its error", err)
	}
}

// The first does not act either while it cannot know what the others do.
func TestWaitTurnOfTheFirst(t *testing.T) {
	for name, c := range map[string]struct {
		until func(*stage)
		took  time.Duration
	}{
		"back":     {func(s *stage) { s.set(0, backend.Attached, false, nil) }, 4 * time.Second},
		"isolated": {func(s *stage) { s.set(0, backend.Detached, true, nil) }, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage(0)
				s.set(0, backend.Detached, false, nil)
				time.AfterFunc(c.took, func() { c.until(s) })
				start := time.Now()
				if err := backend.WaitTurn(t.Context(), s, time.Hour); err != nil || time.Since(start) != c.took {
					t.Errorf("WaitTurn took %v and returned %v, want %v", time.Since(start), err, c.took)
				}
			})
		})
	}
}

// A wait by an order of the caller's own, which is ended and goes on.
func TestTurn(t *testing.T) {
	const length = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		s := newStage(2)
		turn := backend.NewTurn(s, length)
		start := time.Now()
		place := 3
		var held atomic.Bool
		behind := func(v backend.View) (int, bool) { return place - v.Position, held.Load() }
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if err := turn.Wait(ctx, behind); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a wait that is ended returned %v", err)
		}
		place = 4
		if err := turn.Wait(t.Context(), behind); err != nil || time.Since(start) != 2*length {
			t.Errorf("at place 2 it took %v and returned %v, want %v since the first wait", time.Since(start), err, 2*length)
		}
		held.Store(true)
		time.AfterFunc(time.Hour, func() { held.Store(false); s.set(3, backend.Attached, false, nil) })
		if err := turn.Wait(t.Context(), behind); err != nil || time.Since(start) != 3*length+time.Hour {
			t.Errorf("held for an hour, at place 1 it took %v and returned %v", time.Since(start), err)
		}
	})
}
