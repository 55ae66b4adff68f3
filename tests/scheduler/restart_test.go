package scheduler_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/scheduler"
)

// With a state file, pending and firing alerts continue after a restart.
func TestAlertsGoOnAfterARestart(t *testing.T) {
	t.Parallel()
	a := newAsked(1)
	o := scheduler.Options{
		QueryURL: stub(t, a.ServeHTTP), StateFile: filepath.Join(t.TempDir(), "rules"), ResendDelay: time.Millisecond,
		RuleFiles: []string{file(t, "r.yml", rule("Pends", "pends", ", for: 3s")), file(t, "s.yml", rule("Fires", "fires", ""))},
	}
	n := start(t, nil, "a", o)
	began := since(t, n, "pending")
	before := n.fires(t, "Fires")
	n.Close()

	n = start(t, nil, "a", o)
	fired := time.Time{}
	testkit.Eventually(t, patience, func() error {
		if got := n.transitions("Pends"); !slices.Equal(got, []string{"pending>firing"}) {
			return fmt.Errorf("transitions after the restart: %q", got)
		}
		fired = since(t, n, "firing")
		return nil
	})
	if took := fired.Sub(began); took < 3*time.Second {
		t.Errorf("it fired after %v", took)
	}
	if after := n.fires(t, "Fires"); !after.StartsAt.Equal(before.StartsAt) {
		t.Errorf("it fires since %v, and did since %v", after.StartsAt, before.StartsAt)
	}
	if got := n.transitions("Fires"); len(got) > 0 {
		t.Errorf("what fired has transitions: %q", got)
	}
}

// The condition ends while the node does not run, or just before it stops. Either
// way the receiver hears that it is over.
func TestOverAroundARestart(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"before": true, "meanwhile": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAsked(1)
			o := scheduler.Options{
				QueryURL: stub(t, a.ServeHTTP), StateFile: filepath.Join(t.TempDir(), "rules"),
				RuleFiles: []string{file(t, "r.yml", rule("Over", "over", ""))},
			}
			n := start(t, nil, "a", o)
			n.fires(t, "Over")
			a.hosts.Store(0)
			if before {
				testkit.Eventually(t, patience, func() error {
					if got := n.transitions("Over"); got[len(got)-1] != "firing>inactive" {
						return fmt.Errorf("transitions: %q", got)
					}
					return nil
				})
			}
			n.Close()

			n = start(t, nil, "a", o)
			testkit.Eventually(t, patience, func() error {
				if over, ok := n.alert("Over"); !ok || !over.Resolved() {
					return fmt.Errorf("nobody said that it is over: %v", over)
				}
				return nil
			})
		})
	}
}
