package alertmanager

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/common/model"
)

// Receive accepts alerts as the API does, from within the process. An alert
// without an end fires for the resolve_timeout of the configuration. Invalid
// alerts are an error; the others are accepted nevertheless.
func (a *App) Receive(ctx context.Context, alerts ...*model.Alert) error {
	now := time.Now()
	var refused error
	valid := make([]*alert.Alert, 0, len(alerts))
	for _, given := range alerts {
		one := &alert.Alert{Alert: *given, UpdatedAt: now}
		if one.StartsAt.IsZero() {
			one.StartsAt = now
			if !one.EndsAt.IsZero() {
				one.StartsAt = one.EndsAt
			}
		}
		if one.EndsAt.IsZero() {
			one.Timeout, one.EndsAt = true, now.Add(a.reload.resolveTimeout())
		}
		one.Labels = withoutEmpty(one.Labels)
		if err := one.Validate(); err != nil {
			refused = errors.Join(refused, err)
			continue
		}
		valid = append(valid, one)
	}
	return errors.Join(refused, a.alerts.Put(ctx, valid...))
}

// withoutEmpty is a copy without the labels that have no value, which mean the
// same as none.
func withoutEmpty(labels model.LabelSet) model.LabelSet {
	kept := make(model.LabelSet, len(labels))
	for name, value := range labels {
		if value != "" {
			kept[name] = value
		}
	}
	return kept
}
