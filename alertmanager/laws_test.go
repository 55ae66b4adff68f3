package alertmanager_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/statetest"
)

// state is one of Alertmanager's, or its records.
type state interface {
	backend.State
	SetBroadcast(func([]byte))
}

// attach adds a state to a node, and has it broadcast.
func attach(s state) func(backend.ClusterChannel, string) error {
	return func(node backend.ClusterChannel, key string) error {
		channel, err := node.AddState(key, s, nil)
		if err == nil {
			s.SetBroadcast(channel.Broadcast)
		}
		return err
	}
}

// group returns one of a few groups, so that nodes meet.
func group(r *rand.Rand) string { return fmt.Sprint("group ", r.IntN(4)) }

// logged is what a notification log says of all groups.
func logged(l *nflog.Log) string {
	var b strings.Builder
	for i := range 4 {
		entries, err := l.Query(nflog.QReceiver(receiver), nflog.QGroupKey(fmt.Sprint("group ", i)))
		if err == nil {
			fmt.Fprintln(&b, i, entries[0].Timestamp.AsTime(), entries[0].FiringAlerts)
		}
	}
	return b.String()
}

// silencesIn is what there is of silences.
func silencesIn(t testing.TB, s *silence.Silences) string {
	all, _, err := s.Query(t.Context())
	if err != nil {
		return err.Error()
	}
	var lines []string
	for _, one := range all {
		lines = append(lines, fmt.Sprintln(one.Id, one.Comment, one.StartsAt.AsTime(), one.EndsAt.AsTime(), one.UpdatedAt.AsTime()))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// states are Alertmanager's, as they are, and taken apart.
var states = map[string]statetest.Maker{
	"log": func(t testing.TB) statetest.Subject {
		l, err := nflog.New(nflog.Options{Retention: retention, Metrics: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		return ofLog(l, l)
	},
	"records of a log": func(t testing.TB) statetest.Subject {
		l, r := openLog(t)
		return ofLog(l, r)
	},
	"silences": func(t testing.TB) statetest.Subject {
		s, err := silence.New(silence.Options{Retention: retention, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		return ofSilences(t, s, s)
	},
	"records of silences": func(t testing.TB) statetest.Subject {
		s, r := openSilences(t)
		return ofSilences(t, s, r)
	},
}

func ofLog(l *nflog.Log, shown state) statetest.Subject {
	return statetest.Subject{
		State: shown, Attach: attach(shown), Content: func() string { return logged(l) },
		Change: func(r *rand.Rand) error {
			return l.Log(receiver, group(r), []uint64{uint64(r.IntN(100))}, nil, nil, time.Hour)
		},
	}
}

func ofSilences(t testing.TB, s *silence.Silences, shown state) statetest.Subject {
	return statetest.Subject{
		State: shown, Attach: attach(shown), Content: func() string { return silencesIn(t, s) },
		Change: func(r *rand.Rand) error {
			all, _, err := s.Query(t.Context(), silence.QState(silence.SilenceStateActive))
			if err == nil && len(all) > 3 { // one is ended
				slices.SortFunc(all, func(a, b *silencepb.Silence) int { return strings.Compare(a.Comment, b.Comment) })
				return s.Expire(t.Context(), all[r.IntN(len(all))].Id)
			}
			silenced(t, s, group(r), time.Hour)
			return err
		},
	}
}

func TestStatesOfAlertmanager(t *testing.T) {
	for name, maker := range states {
		t.Run(name, func(t *testing.T) {
			statetest.Check(t, maker, nil)
			statetest.Simulate(t, maker, nil)
		})
	}
}
