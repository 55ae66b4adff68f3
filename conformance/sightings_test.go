//go:build !race

package conformance

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// TestAFailureSaysWhatToLookAt holds the text of a failure to what was seen and to
// the likely cause, for what authors get wrong most often.
func TestAFailureSaysWhatToLookAt(t *testing.T) {
	ownAlone := bend(func(d *bent) {
		own := d.options.Self.Instance
		d.in = func(h driver.Handler, b []byte) {
			if originOf(b) == own {
				h.Frame(b)
			}
		}
	})
	noServer := func(driver.OpenFunc) driver.OpenFunc {
		return func(context.Context, driver.Options) (driver.Driver, error) {
			return nil, fmt.Errorf("dial tcp: connection refused: %w", driver.ErrUnavailable)
		}
	}
	for _, test := range []struct {
		name, check string
		driver      func(driver.OpenFunc) driver.OpenFunc
		want        []string
	}{
		{"a server that cannot be reached", "members/join", noServer, []string{"never with success: dial tcp: connection refused", "look at: why Open fails"}},
		{"a driver that never calls Link", "members/join", bend(neverAttached), []string{"it never called Link", "look at: Serve: it begins with Handler.Link(nil)"}},
		{"a subscription to something else", "members/join", bend(nothingIn), []string{"heard of its own: none; of others: none", "look at: the subscription: it hears nothing at all"}},
		{"no echo", "members/join", bend(noLocal), []string{"heard of its own: none; of others: ", "look at: own frames: it hears the others and not itself"}},
		{"a queue group", "members/join", ownAlone, []string{"of others: none", "look at: the others' frames: it hears itself alone", "consumer group"}},
		{"a list and no frames", "broadcast/reaches-others", roster{hears: func(*rosterDriver, driver.Handler, []byte) {}}.of(), []string{"look at: the others' frames: the transport lists members, and hands over none"}},
		{"one client for a name", "members/same-name-twice", oneClient(func(o driver.Options) string { return o.Self.Name }), []string{"look at: why the driver was opened so often", "two clients of one identity"}},
		{"a subscription that is not renewed", "loss/is-told", reconnects{subscribes: 1 << 40}.over, []string{"a client library that reconnects by itself has to subscribe again"}},
		{"the clusters' names", "names/clusters", clusterAs(strings.ToLower), []string{"is the cluster's name escaped, or hashed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := memoryHarness()
				sound := h.Driver
				h.Driver = func(t testing.TB, n Node) driver.OpenFunc { return test.driver(sound(t, n)) }
				q := &quiet{TB: t}
				if find(test.check).run(q, newSuite(t, h)) {
					t.Fatalf("it passes %s", test.check)
				}
				text := strings.Join(q.errors, "\n")
				for _, want := range test.want {
					if !strings.Contains(text, want) {
						t.Errorf("the failure of %s lacks %q:\n%s", test.check, want, text)
					}
				}
			})
		})
	}
}

func TestARunSaysWhatItCannotSee(t *testing.T) {
	blind := execute(t, Harness{Backend: "memory"}, Options{Select: in("driver/", "members/self")}).NotChecked
	for _, want := range []string{"what the server itself promises"} {
		if text := unseenList(blind); !strings.Contains(text, "not checked:\n") || !strings.Contains(text, want) {
			t.Errorf("%s\nlacks %q", text, want)
		}
	}
	unread := unseenList(execute(t, memoryHarness(), Options{Select: in("config/before-dialling")}).NotChecked)
	if want := "Harness.Bad has no value for them: bus"; !strings.Contains(unread, want) {
		t.Errorf("%s\nlacks %q", unread, want)
	}
	h := memoryHarness()
	h.Backend, h.Residue, h.Foreign = "made by nobody", nil, nil
	open := h.Driver
	h.Driver = func(t testing.TB, n Node) driver.OpenFunc {
		return roster{}.over(bend(lingering(1<<40, func(*bent) {}))(open(t, n)))
	}
	text := unseenList(execute(t, h, Options{Select: in("driver/")}).NotChecked)
	for _, want := range []string{
		"driver/subscribed-first: a transport that knows its members need not hear its own frames", "driver/nothing-stale: frames may linger for ", "driver/nothing-older: frames may linger for ",
		"driver.Backend.Params", "Harness.Foreign", "Harness.Residue",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nlacks %q", text, want)
		}
	}
}
