package alertmanager_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
)

func TestReceiveTakesAlertsAsTheAPIDoes(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: configFile(t, "global: {resolve_timeout: 7m}\n"+config(s.url))})
	now := time.Now()
	labels := func(name string) model.LabelSet {
		return model.LabelSet{"alertname": model.LabelValue(name), "empty": ""}
	}
	err := n.app.Receive(t.Context(),
		&model.Alert{Labels: labels("endless")},
		&model.Alert{Labels: labels("over"), EndsAt: now.Add(-time.Minute)},
		&model.Alert{Labels: model.LabelSet{"empty": ""}},
		&model.Alert{Labels: labels("backwards"), StartsAt: now, EndsAt: now.Add(-time.Minute)},
	)
	if err == nil || !strings.Contains(err.Error(), "at least one label pair") || !strings.Contains(err.Error(), "start time must be before end time") {
		t.Errorf("error: %v", err)
	}
	s.waitFor(t, "endless")
	var alerts []struct {
		Labels   map[string]string
		StartsAt time.Time
		EndsAt   time.Time
	}
	if err := json.Unmarshal([]byte(n.get(t, "/api/v2/alerts")), &alerts); err != nil {
		t.Fatal(err)
	}
	if len(alerts) != 1 || len(alerts[0].Labels) != 1 || alerts[0].StartsAt.Before(now.Truncate(time.Millisecond)) {
		t.Fatalf("alerts: %+v", alerts)
	}
	if fires := alerts[0].EndsAt.Sub(alerts[0].StartsAt); fires != 7*time.Minute {
		t.Errorf("it fires for %v, want the resolve timeout", fires)
	}
	if from := s.from("over"); len(from) > 0 {
		t.Errorf("an alert that was over was delivered by %q", from)
	}
}

func TestReloadCallsWhatElseIsToBeReadAgain(t *testing.T) {
	t.Parallel()
	calls := 0
	path := configFile(t, config("http://127.0.0.1:1"))
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: path, OnReload: func() error { calls++; return backend.ErrConfig }})
	writeFile(t, path, "route: [")
	if err := n.app.Reload(); err == nil || calls != 1 || !strings.Contains(err.Error(), path) || !strings.HasSuffix(err.Error(), backend.ErrConfig.Error()) {
		t.Errorf("%d calls, error: %v", calls, err)
	}
}
