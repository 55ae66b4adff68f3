package scheduler

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
)

// goOn makes the group's rules continue from the snapshot of the node that
// evaluated it last, or of this one before a restart, so that neither for nor
// keep_firing_for begins again.
func (s *Scheduler) goOn(g *rules.Group, key string, at time.Time, self string) {
	d := s.duty(key)
	if !d.evaluates {
		forget(g, at)
	}
	last, found := s.board.latest(key)
	foreign := found && last.Writer != self
	if found && (!d.evaluates || foreign && last.Revision > d.revision) {
		if foreign && !d.evaluates {
			s.metrics.takeovers.Inc()
			s.opts.Logger.Info("taking over a rule group", "group", key, "alerts", len(last.Alerts))
		}
		if err := s.adopt(g, last, at); err != nil {
			s.opts.Logger.Warn("alerts of a group that another node evaluated begin again", "group", key, "err", err)
		}
	}
	s.setDuty(key, duty{evaluates: true, revision: last.Revision})
}

// forget ends the group's alerts as this node last evaluated them, without
// telling anybody.
func forget(g *rules.Group, at time.Time) {
	for _, r := range g.Rules() {
		if rule, ok := r.(*rules.AlertingRule); ok {
			rule.ForEachActiveAlert(func(a *rules.Alert) { retire(a, at) })
		}
	}
}

// retire makes the next evaluation drop the alert or begin it again: it has
// been resolved for longer than package rules repeats it.
func retire(a *rules.Alert, at time.Time) {
	a.State, a.ResolvedAt = rules.StateInactive, at.Add(-24*time.Hour)
}

// adopt merges the alerts of a snapshot into the group's rules.
func (s *Scheduler) adopt(g *rules.Group, last snapshot, at time.Time) error {
	theirs := map[ruleID][]alert{}
	for _, a := range last.Alerts {
		theirs[a.ruleID] = append(theirs[a.ruleID], a)
	}
	for id, rule := range alertingRules(g) {
		if err := adoptRule(s.ctx, rule, theirs[id], at, s.linkURL); err != nil {
			return fmt.Errorf("rule %q: %w", rule.Name(), err)
		}
	}
	return nil
}

// adoptRule runs an evaluation whose result is the alerts themselves, since
// that is the only way to add alerts to a rule, and sets their times
// afterwards.
func adoptRule(ctx context.Context, rule *rules.AlertingRule, theirs []alert, at time.Time, external *url.URL) error {
	want := map[string]rules.Alert{}
	rule.ForEachActiveAlert(func(a *rules.Alert) {
		if a.State != rules.StateInactive {
			want[a.Labels.String()] = *a
		}
	})
	grown := false
	for _, t := range theirs {
		if t.State == resolved {
			continue
		}
		a := t.internal()
		id := a.Labels.String()
		if mine, ok := want[id]; ok {
			a = longer(mine, a)
		}
		want[id], grown = a, true
	}
	if !grown {
		return nil
	}
	var result promql.Vector
	for _, a := range want {
		result = append(result, promql.Sample{T: at.UnixMilli(), F: a.Value, Metric: a.Labels})
	}
	expr := rule.Query().String()
	ask := func(_ context.Context, q string, _ time.Time) (promql.Vector, error) {
		if q == expr {
			return result, nil
		}
		return nil, nil // a template's query
	}
	if _, err := rule.Eval(ctx, 0, at, ask, external, 0); err != nil {
		return err
	}
	rule.ForEachActiveAlert(func(a *rules.Alert) {
		w, ok := want[a.Labels.String()]
		switch {
		case ok:
			a.State, a.Value, a.ActiveAt, a.FiredAt, a.KeepFiringSince = w.State, w.Value, w.ActiveAt, w.FiredAt, w.KeepFiringSince
			a.LastSentAt, a.ValidUntil, a.ResolvedAt = w.LastSentAt, w.ValidUntil, time.Time{}
		case a.State != rules.StateInactive: // a template made other labels of it
			retire(a, at)
		}
	})
	return nil
}

// longer merges an alert that two nodes saw: it lasts since the first of them
// saw it.
func longer(mine, theirs rules.Alert) rules.Alert {
	a := mine
	a.ActiveAt = earlier(mine.ActiveAt, theirs.ActiveAt)
	if theirs.State == rules.StateFiring {
		a.State, a.FiredAt = rules.StateFiring, earlier(mine.FiredAt, theirs.FiredAt)
	}
	return a
}

// ruleID identifies an alerting rule within its group, even if the nodes have
// different versions of it.
type ruleID struct {
	Rule string `json:"rule"`
	Nth  int    `json:"nth,omitempty"` // of those with this name
}

// alertingRules yields the group's alerting rules.
func alertingRules(g *rules.Group) func(yield func(ruleID, *rules.AlertingRule) bool) {
	return func(yield func(ruleID, *rules.AlertingRule) bool) {
		seen := map[string]int{}
		for _, r := range g.Rules() {
			rule, ok := r.(*rules.AlertingRule)
			if !ok {
				continue
			}
			id := ruleID{rule.Name(), seen[rule.Name()]}
			seen[rule.Name()]++
			if !yield(id, rule) {
				return
			}
		}
	}
}

// alerts lists the group's alerts, including those resolved lately.
func (s *Scheduler) alerts(g *rules.Group) (all []alert) {
	for id, rule := range alertingRules(g) {
		link := s.generator(rule.Query().String())
		rule.ForEachActiveAlert(func(a *rules.Alert) { all = append(all, external(id, a, link)) })
	}
	return all
}

// internal converts a to the type of package rules. It is sent at the next
// evaluation.
func (a alert) internal() rules.Alert {
	state := rules.StatePending
	if a.State == firing {
		state = rules.StateFiring
	}
	return rules.Alert{
		State: state, Labels: labels.FromMap(a.Labels), Value: float64(a.Value),
		ActiveAt: a.Active, FiredAt: a.Fired, KeepFiringSince: a.Kept,
	}
}
