package scheduler

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/rules"

	"github.com/clusterchannel/clusterchannel/backend"
)

// overdue is the number of intervals after which a member no longer counts as
// evaluating a group.
const overdue = 3

// duty is what this node remembers about a group between evaluations. Only the
// group's own goroutine changes it.
type duty struct {
	evaluates bool  // the last time
	revision  int64 // of the snapshot that this node continued from
}

// iterate is called at every interval of a group.
func (s *Scheduler) iterate(ctx context.Context, g *rules.Group, at time.Time) {
	key := rules.GroupKey(g.File(), g.Name())
	var view backend.View
	if s.channel != nil {
		view = s.opts.Cluster.View()
		if !s.mine(key, g.Interval(), view) {
			s.setDuty(key, duty{})
			return
		}
	}
	self := s.self(view)
	if s.board != nil {
		s.goOn(g, key, at, self)
	} else {
		s.setDuty(key, duty{evaluates: true})
	}
	before := states(g)
	start := time.Now()
	rules.DefaultEvalIterationFunc(ctx, g, at)
	if time.Since(start) > g.Interval() {
		s.metrics.slow.WithLabelValues(key).Inc()
	}
	s.note(g, at, before, states(g))
	switch {
	case s.channel != nil:
		s.publish(g, key, view)
	case s.board != nil:
		said := s.board.next(key, self, s.alerts(g))
		s.board.accept(said, time.Now())
		s.setDuty(key, duty{evaluates: true, revision: said.Revision})
	}
}

// self is this node's name on the board. If every node evaluates, each has its
// own board.
func (s *Scheduler) self(v backend.View) string {
	if s.channel == nil {
		return "this node"
	}
	return v.Self().Instance
}

func (s *Scheduler) duty(key string) duty {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.duties[key]; d != nil {
		return *d
	}
	return duty{}
}

func (s *Scheduler) setDuty(key string, d duty) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.duties[key] = &d
}

// mine reports whether this node evaluates the group now. It does unless a
// member before it in the group's order has been heard evaluating it lately. In
// doubt it does.
func (s *Scheduler) mine(key string, interval time.Duration, v backend.View) bool {
	if v.Status != backend.Attached || v.Ready == backend.Settling {
		return true
	}
	self := v.Self()
	for next := range v.Order(key) {
		if next.Instance == self.Instance {
			return true
		}
		if s.board.heard(key, next.Instance, overdue*interval) {
			return false
		}
	}
	return true
}

// publish broadcasts the group's state, unless a rule failed: another node may
// do better. A node that has not heard the others yet does not publish: it
// would overwrite what they know.
func (s *Scheduler) publish(g *rules.Group, key string, v backend.View) {
	if v.Ready == backend.Settling {
		return
	}
	for _, r := range g.Rules() {
		if r.LastError() != nil {
			return
		}
	}
	said := s.board.next(key, v.Self().Instance, s.alerts(g))
	b, err := encode(said)
	if err == nil {
		err = s.channel.TryBroadcast(b)
	}
	if err != nil && s.ctx.Err() == nil {
		s.metrics.publishFailures.Inc()
		s.opts.Logger.Warn("the state of a rule group was not broadcast; other nodes evaluate it too", "group", key, "err", err)
	}
	if !errors.Is(err, backend.ErrTooLarge) {
		s.board.accept(said, time.Now())
	}
	s.setDuty(key, duty{evaluates: true, revision: said.Revision})
}

// alertID identifies an alert within its group.
type alertID struct {
	rule   int
	labels string
}

// states maps the alerts of the group that are pending or firing.
func states(g *rules.Group) map[alertID]rules.Alert {
	all := map[alertID]rules.Alert{}
	for i, r := range g.Rules() {
		if rule, ok := r.(*rules.AlertingRule); ok {
			rule.ForEachActiveAlert(func(a *rules.Alert) {
				if a.State != rules.StateInactive {
					all[alertID{i, a.Labels.String()}] = *a
				}
			})
		}
	}
	return all
}

// note adds the differences to the history.
func (s *Scheduler) note(g *rules.Group, at time.Time, before, after map[alertID]rules.Alert) {
	var all []Transition
	add := func(id alertID, a rules.Alert, from, to rules.AlertState) {
		all = append(all, Transition{
			Time: at, Instance: s.opts.Name, Group: rules.GroupKey(g.File(), g.Name()), Rule: g.Rules()[id.rule].Name(),
			Labels: a.Labels.Map(), From: from.String(), To: to.String(),
		})
	}
	for id, a := range before {
		if _, ok := after[id]; !ok {
			add(id, a, a.State, rules.StateInactive)
		}
	}
	for id, a := range after {
		from := rules.StateInactive
		if b, ok := before[id]; ok {
			from = b.State
		}
		if from != a.State {
			add(id, a, from, a.State)
		}
	}
	for _, t := range all {
		s.opts.Logger.Info("an alert changed its state", "instance", t.Instance, "rule", t.Rule, "labels", t.Labels, "from", t.From, "to", t.To)
	}
	s.history.add(all)
}
