package backend_test

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// A node says whose clock is apart, as far as the time at which updates left
// shows: at once of a clock that is ahead, and of one that is behind when all
// updates came late for a minute. It says the same in the log, in Inspect and by a metric. Of updates that waited it says nothing.
func TestClocksApart(t *testing.T) {
	for name, c := range map[string]struct {
		late []time.Duration // of the updates, one every 20 s
		want string          // of the trouble, after the last one; empty: there is none
	}{
		"they agree":                     {[]time.Duration{0, 900 * time.Millisecond, -900 * time.Millisecond}, ""},
		"ahead":                          {[]time.Duration{-5 * time.Second}, "the clock of other: it is 5s ahead of this host's; "},
		"ahead by what cannot be":        {[]time.Duration{-1 << 62}, "the clock of other: it is 1281023h53m38.4s ahead of this host's; "},
		"ahead and corrected":            {[]time.Duration{-5 * time.Second, 10 * time.Millisecond}, ""},
		"ahead, and one update waited":   {[]time.Duration{-5 * time.Second, 2 * time.Second}, "the clock of other: it is 5s ahead of this host's; "},
		"ahead by more":                  {[]time.Duration{-5 * time.Second, -9 * time.Second}, "the clock of other: it is 9s ahead of this host's; "},
		"an update that waited":          {[]time.Duration{30 * time.Second}, ""},
		"updates that waited for 40 s":   {[]time.Duration{7 * time.Second, 6 * time.Second, 9 * time.Second}, ""},
		"one of them did not":            {[]time.Duration{7 * time.Second, 6 * time.Second, 0, 9 * time.Second, 8 * time.Second}, ""},
		"behind":                         {[]time.Duration{7 * time.Second, 6 * time.Second, 9 * time.Second, 8 * time.Second}, "the clock of other: it is 6s behind this host's; "},
		"behind and corrected":           {[]time.Duration{7 * time.Second, 6 * time.Second, 9 * time.Second, 8 * time.Second, 0}, ""},
		"it does not say when it left":   {[]time.Duration{-1 << 63}, ""},
		"behind, at other times by less": {[]time.Duration{7 * time.Second, 6 * time.Second, 9 * time.Second, 8 * time.Second, 3 * time.Second, 3 * time.Second, 3 * time.Second, 3 * time.Second}, "the clock of other: it is 3s behind this host's; "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				logs, drv, registry := &testkit.Log{}, make(seen), prometheus.NewRegistry()
				channel, err := backend.Open(t.Context(), backend.Config{
					Cluster: "t", Name: "self", Driver: drv.open, Registerer: registry, Logger: slog.New(slog.NewTextHandler(logs, nil)),
				})
				if err != nil {
					t.Fatal(err)
				}
				handler := <-drv
				other := driver.Member{Name: "other", Instance: "other-1"}
				handler.Link(nil)
				handler.Members([]driver.Member{self(channel), other})
				synctest.Wait()
				encoder := wire.NewEncoder("t", other.Instance)
				for i, late := range c.late {
					sent := time.Now().UnixNano() - int64(late)
					if late == -1<<63 {
						sent = 0
					}
					frame, start := encoder.AppendUpdate(nil, wire.UpdateHead{Key: "s", Number: uint64(i + 1), Sent: sent}, []byte("x"))
					handler.Frame(frame[start:])
					after(20 * time.Second)
				}
				var got []string
				for _, trouble := range channel.(backend.Inspector).Inspect().Troubles {
					got = append(got, trouble.What+": "+trouble.Err.Error())
				}
				if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], c.want) || !strings.Contains(got[0], "timedatectl")) {
					t.Errorf("the troubles are %q, want %q", got, c.want)
				}
				if apart := value(t, registry, "clusterchannel_clocks_apart"); (apart == 1) != (c.want != "") {
					t.Errorf("%v clocks are apart", apart)
				}
				if c.want != "" && (!strings.Contains(logs.String(), "member=other") || !strings.Contains(logs.String(), "this host's; ")) {
					t.Errorf("the log does not say %q:\n%s", c.want, logs)
				}
				if strings.Contains(name, "corrected") && !strings.Contains(logs.String(), "the clocks agree again") {
					t.Errorf("the log does not say that it is over:\n%s", logs)
				}
				handler.Members([]driver.Member{self(channel)})
				synctest.Wait()
				if still := channel.(backend.Inspector).Inspect().Troubles; len(still) > 0 {
					t.Errorf("of who is gone is said %v", still)
				}
				if err := channel.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// value returns that of the one series of a name, a gauge or a counter.
func value(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}
