package alertmanager

import (
	"context"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"

	"github.com/clusterchannel/clusterchannel/backend"
)

// fixed is a channel with one view.
type fixed struct {
	backend.ClusterChannel
	view backend.View
}

func (f fixed) View() backend.View { return f.view }

func (f fixed) Watch(ctx context.Context) iter.Seq[backend.View] {
	return func(yield func(backend.View) bool) {
		if yield(f.view) {
			<-ctx.Done()
		}
	}
}

func members(instances ...string) (all []backend.Member) {
	for _, instance := range instances {
		all = append(all, backend.Member{Name: instance[:1], Instance: instance})
	}
	return all
}

func TestTurns(t *testing.T) {
	const turn = 15 * time.Second
	type view struct {
		at      time.Duration
		members []backend.Member
	}
	for name, c := range map[string]struct {
		views   []view
		self    int // in the last one
		started time.Duration
		began   time.Duration
		now     time.Duration
		took    time.Duration
	}{
		"by position":                     {views: []view{{0, members("a1", "b1", "c1")}}, self: 2, began: time.Hour, now: time.Hour, took: 2 * turn},
		"who came back is not waited for": {views: []view{{0, members("a1", "b1")}, {time.Hour, members("b1")}, {time.Hour + 5*time.Second, members("a2", "b1")}}, self: 1, began: time.Hour, now: time.Hour + 10*time.Second},
		"nor where it was back unnoticed": {views: []view{{0, members("a1", "b1")}, {time.Hour, members("a1", "a2", "b1")}, {time.Hour + 5*time.Second, members("a2", "b1")}}, self: 1, began: time.Hour - time.Second, now: time.Hour + 10*time.Second},
		"nor was it told at once":         {views: []view{{0, members("a1", "b1")}, {time.Hour, members("b1")}, {time.Hour + 5*time.Second, members("a2", "b1")}}, self: 1, began: time.Hour + 5500*time.Millisecond, now: time.Hour + 10*time.Second},
		"this one may not have been told": {views: []view{{0, members("a2", "b1")}}, started: time.Hour, began: time.Hour + 1500*time.Millisecond, now: time.Hour + 5*time.Second, took: yield},
		"this one was told":               {views: []view{{0, members("a2", "b1")}}, started: time.Hour, began: time.Hour + 2*time.Second, now: time.Hour + 5*time.Second},
		"it is, if the alert began later": {views: []view{{0, members("a1", "b1")}, {time.Hour, members("b1")}, {time.Hour + 5*time.Second, members("a2", "b1")}}, self: 1, began: time.Hour + 6*time.Second, now: time.Hour + 10*time.Second, took: turn},
		"it is, when it was told again":   {views: []view{{0, members("a1", "b1")}, {time.Hour, members("b1")}, {time.Hour + 5*time.Second, members("a2", "b1")}}, self: 1, began: time.Hour, now: time.Hour + 70*time.Second, took: turn},
		"the same one is back from a cut": {views: []view{{0, members("a1", "b1")}, {time.Hour, members("b1")}, {time.Hour + 5*time.Second, members("a1", "b1")}}, self: 1, began: time.Hour, now: time.Hour + 10*time.Second, took: turn},
		"one that nobody knew":            {views: []view{{0, members("b1")}, {time.Hour, members("a1", "b1")}}, self: 1, began: 0, now: time.Hour, took: turn},
		"one that was away for long":      {views: []view{{0, members("a1", "b1")}, {time.Hour, members("b1")}, {2 * time.Hour, members("a2", "b1")}}, self: 1, began: time.Hour, now: 2 * time.Hour, took: turn},
		"two came back at once":           {views: []view{{0, members("a1", "b1", "c1")}, {time.Hour, members("c1")}, {time.Hour + time.Second, members("a2", "b2", "c1")}}, self: 2, began: time.Hour, now: time.Hour + 2*time.Second},
		"this one came back":              {views: []view{{0, members("a2", "b1")}}, started: time.Hour, began: time.Hour - time.Second, now: time.Hour + time.Second, took: yield},
		"it came back, and is alone":      {views: []view{{0, members("a2")}}, started: time.Hour, began: time.Hour - time.Second, now: time.Hour + time.Second},
		"it came back a minute ago":       {views: []view{{0, members("a2", "b1")}}, started: time.Hour, began: time.Hour - time.Second, now: time.Hour + 2*time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin, back := time.Now(), newComebacks()
				var v backend.View
				for _, step := range c.views {
					v = backend.View{Members: step.members, Status: backend.Attached}
					back.see(v, begin.Add(step.at))
				}
				v.Position = c.self
				timer := time.NewTimer(c.now)
				<-timer.C
				s := turns{fixed{view: v}, turn, back, begin.Add(c.started)}
				called := time.Now()
				a := &alert.Alert{Alert: model.Alert{StartsAt: begin.Add(c.began)}}
				if _, all, err := s.Exec(t.Context(), nil, a); err != nil || len(all) != 1 {
					t.Errorf("Exec returned %v, %v", all, err)
				}
				if took := time.Since(called); took != c.took {
					t.Errorf("the turn came after %v, want %v", took, c.took)
				}
			})
		})
	}
}

func TestTurnEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := turns{fixed{view: backend.View{Members: members("a1", "b1"), Position: 1, Status: backend.Attached}}, time.Hour, newComebacks(), time.Now()}
	if _, _, err := s.Exec(ctx, nil, &alert.Alert{Alert: model.Alert{StartsAt: time.Now().Add(-time.Minute)}}); err == nil {
		t.Error("Exec says nothing of its context's end")
	}
}
