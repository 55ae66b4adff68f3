package alertmanager

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/notify"
)

// ledger is the notification log as one pipeline writes it. It does not write
// what another instance has sent and logged.
type ledger struct {
	notify.NotificationLog

	mu     sync.Mutex
	theirs map[string]bool
}

func newLedger(log notify.NotificationLog) *ledger {
	return &ledger{NotificationLog: log, theirs: map[string]bool{}}
}

// Log implements notify.NotificationLog.
func (l *ledger) Log(r *nflogpb.Receiver, group string, firing, resolved []uint64, store *nflog.Store, expiry time.Duration) error {
	if l.leave(r, group, false) {
		return nil
	}
	return l.NotificationLog.Log(r, group, firing, resolved, store, expiry)
}

// leave notes whether another instance has sent the current notification, and
// reports whether it had so far.
func (l *ledger) leave(r *nflogpb.Receiver, group string, theirs bool) bool {
	key := fmt.Sprintf("%q %q %d %s", r.GroupName, r.Integration, r.Idx, group)
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.theirs[key]
	delete(l.theirs, key)
	if theirs {
		l.theirs[key] = true
	}
	return before
}

// sender is an integration that sends within a pipeline, and only what no other
// instance has sent.
type sender struct {
	notify.Integration
	pipeline *pipeline
	receiver *nflogpb.Receiver
	log      *ledger
	logger   *slog.Logger
}

// Notify is called for each attempt. Alertmanager's own pipeline looks at the
// notification log before the first one only: when a receiver that failed for a
// while comes back, every instance is attempting to send, and would.
func (s *sender) Notify(ctx context.Context, alerts ...*alert.Alert) (bool, error) {
	if err := s.pipeline.begin(ctx); err != nil {
		return false, err
	}
	group, _ := notify.GroupKey(ctx)
	_, due, err := notify.NewDedupStage(&s.Integration, s.log, s.receiver).Exec(ctx, s.logger, alerts...)
	theirs := err == nil && len(due) == 0 // if the log cannot be read, send
	s.log.leave(s.receiver, group, theirs)
	if theirs {
		s.logger.Debug("another instance has sent a notification meanwhile", "receiver", s.receiver.GroupName, "integration", s.String(), "aggrGroup", group)
		return false, nil
	}
	return s.Integration.Notify(ctx, alerts...)
}

// within wraps integrations so that they send within p, by log.
func (p *pipeline) within(receivers map[string][]notify.Integration, log *ledger, logger *slog.Logger) map[string][]notify.Integration {
	wrapped := make(map[string][]notify.Integration, len(receivers))
	for name, all := range receivers {
		wrapped[name] = nil // a receiver without integrations is valid too
		for _, i := range all {
			receiver := &nflogpb.Receiver{GroupName: name, Integration: i.Name(), Idx: uint32(i.Index())}
			s := &sender{i, p, receiver, log, logger}
			wrapped[name] = append(wrapped[name], notify.NewIntegration(s, s, s.Name(), s.Index(), name))
		}
	}
	return wrapped
}
