package alertmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/provider/mem"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/statefile"
)

// rememberEvery is how often changed alerts are saved.
const rememberEvery = 10 * time.Second

// memory saves the alerts of an instance, so that one that ends around a
// restart is still sent as resolved: the notification log keeps only a hash of
// what was sent as firing, and without the alert nobody can say what is over.
//
// They are saved and not replicated. The senders tell every instance of every
// alert, again and again, so replicating would only add traffic; and an
// instance that evaluates nothing must show nothing. An instance without a
// storage path remembers none.
type memory struct {
	file   statefile.File
	alerts *mem.Alerts
	logger *slog.Logger
	saved  uint64 // digest
	failed bool   // the last time
}

// recollection is the content of the file.
type recollection struct {
	Saved  time.Time      `json:"saved"`
	Alerts []*alert.Alert `json:"alerts"`
}

func newMemory(path string, alerts *mem.Alerts, logger *slog.Logger) *memory {
	return &memory{file: statefile.File{Path: path, Kind: "alerts", Format: 1}, alerts: alerts, logger: logger}
}

// recall restores the saved alerts. An alert that fired goes on firing for at
// least hold, so that its source has time to send it again.
func (m *memory) recall(hold time.Duration) error {
	data, err := m.file.Load()
	if errors.Is(err, statefile.ErrUnusable) {
		return fmt.Errorf("%w: alerts: %w", backend.ErrConfig, err)
	}
	if err != nil {
		return fmt.Errorf("alerts: %w", err)
	}
	if data == nil {
		return nil
	}
	var r recollection
	if err := json.Unmarshal(data, &r); err != nil {
		return fmt.Errorf("%w: alerts: %s: %w", backend.ErrConfig, m.file.Path, err)
	}
	valid := r.Alerts[:0]
	for _, a := range r.Alerts {
		if a.EndsAt.After(r.Saved) {
			a.EndsAt = later(a.EndsAt, time.Now().Add(hold))
		}
		if err := a.Validate(); err != nil {
			m.logger.Warn("an alert that was saved is left out", "labels", a.Labels, "err", err)
			continue
		}
		valid = append(valid, a)
	}
	return m.alerts.Put(context.Background(), valid...)
}

// run saves what has changed until stop is closed.
func (m *memory) run(stop <-chan struct{}) {
	tick := time.NewTicker(rememberEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.save()
		case <-stop:
			m.save()
			return
		}
	}
}

// save saves the alerts if one has come, gone or ended since.
func (m *memory) save() {
	r, digest := m.recollect()
	if digest == m.saved {
		return
	}
	data, err := json.Marshal(r)
	if err == nil {
		err = m.file.Save(data)
	}
	if err != nil {
		if !m.failed {
			m.logger.Error("the alerts could not be saved; still trying", "file", m.file.Path, "err", err)
		}
		m.failed = true
		return
	}
	m.saved, m.failed = digest, false
}

// recollect returns the alerts, and a digest of which fire, which are over, and
// since when.
func (m *memory) recollect() (r recollection, digest uint64) {
	r.Saved = time.Now()
	all := m.alerts.GetPending()
	defer all.Close()
	for a := range all.Next() {
		r.Alerts = append(r.Alerts, a.Data)
		said := fmt.Sprint(a.Data.Fingerprint(), a.Data.StartsAt)
		if a.Data.ResolvedAt(r.Saved) {
			said += fmt.Sprint(a.Data.EndsAt)
		}
		digest += xxhash.Sum64String(said)
	}
	return r, digest
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
