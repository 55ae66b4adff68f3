package alertmanager_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

func TestOneDeliveryFromTheFirst(t *testing.T) {
	t.Parallel()
	nodes, sink := startThree(t)
	fire(t, nodes, "DiskFull", "NodeDown")
	turnsOver(t, len(nodes))
	sink.expect(t, "DiskFull", nodes[0].external())
	sink.expect(t, "NodeDown", nodes[0].external())
}

// An alert that only the last node received is late, not lost.
func TestDeliveryByTheOnlyOneThatKnows(t *testing.T) {
	t.Parallel()
	nodes, sink := startThree(t)
	fire(t, nodes[2:], "DiskFull")
	sink.waitFor(t, "DiskFull")
	sink.expect(t, "DiskFull", nodes[2].external())
}

func TestSilenceOfOneSilencesAll(t *testing.T) {
	t.Parallel()
	nodes, sink := startThree(t)
	id := nodes[1].silenceOf(t, "Maintenance")
	for _, n := range nodes {
		n.silenceBecomes(t, id, "active")
	}
	fire(t, nodes, "Maintenance", "DiskFull")
	turnsOver(t, len(nodes))
	sink.expect(t, "Maintenance")
	sink.expect(t, "DiskFull", nodes[0].external())

	if code, body := nodes[2].call(t, http.MethodDelete, "/api/v2/silence/"+id, nil); code != http.StatusOK {
		t.Fatalf("expire the silence: %d: %s", code, body)
	}
	nodes[0].silenceBecomes(t, id, "expired")
}

func TestTheNextMovesUp(t *testing.T) {
	t.Parallel()
	nodes, sink := startThree(t)
	fire(t, nodes, "Before")
	turnsOver(t, len(nodes))
	sink.expect(t, "Before", nodes[0].external())

	nodes[0].app.Close()
	nodes[0].leave(t)
	rest := nodes[1:]
	agree(t, rest)
	fire(t, rest, "Before", "After")
	turnsOver(t, len(rest))
	sink.expect(t, "After", nodes[1].external())
	sink.expect(t, "Before", nodes[0].external())
}

// A node that comes back in front of one that waits has its turn first: else
// two would be at the same turn. If the machine is so busy that it comes too
// late, the test tries again with turns twice as long.
func TestWhoComesInFrontHasItsTurn(t *testing.T) {
	t.Parallel()
	for turn := 3 * time.Second; !cameInFront(t, turn); turn *= 2 {
		if turn > time.Minute {
			t.Fatal("no node joins within a minute")
		}
	}
}

// cameInFront reports whether the node in front was there in time for the turn.
func cameInFront(t *testing.T, turn time.Duration) bool {
	t.Helper()
	sink, bus := newSink(t), newBus(t)
	opts := alertmanager.Options{ConfigFile: configFile(t, config(sink.url)), PeerTimeout: turn}
	second, third := start(t, "b", bus, backend.Timing{}, opts), start(t, "c", bus, backend.Timing{}, opts)
	agree(t, []*node{second, third})
	began := time.Now()
	fire(t, []*node{third}, "DiskFull")
	<-time.After(turn / 3) // beyond group_wait: it now waits for its turn
	first := start(t, "a", bus, backend.Timing{}, opts)
	agree(t, []*node{first, second, third})
	if time.Since(began) >= turn {
		return false
	}
	sink.waitFor(t, "DiskFull")
	if waited := time.Since(began); waited < 2*turn {
		t.Errorf("position 2 sent after %v, before the turns of those in front were over, %v", waited, 2*turn)
	}
	sink.expect(t, "DiskFull", third.external())
	return true
}

// A node that came back in front knows of no alert that began before, and so nobody
// waits for it. If the machine is so busy that it comes back too late, the test tries
// again with a group that waits twice as long.
func TestWhoCameBackIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for wait := 2 * time.Second; !cameBack(t, wait); wait *= 2 {
		if wait > time.Minute {
			t.Fatal("no node comes back within a minute")
		}
	}
}

// cameBack reports whether the first was back before the alert's group had waited.
func cameBack(t *testing.T, wait time.Duration) bool {
	t.Helper()
	sink, bus := newSink(t), newBus(t)
	content := strings.Replace(config(sink.url), "group_wait: "+groupWait.String(), "group_wait: "+wait.String(), 1)
	opts := alertmanager.Options{ConfigFile: configFile(t, content), PeerTimeout: time.Hour}
	first, second := start(t, "a", bus, backend.Timing{}, opts), start(t, "b", bus, backend.Timing{}, opts)
	agree(t, []*node{first, second})
	began := time.Now()
	fire(t, []*node{first, second}, "DiskFull")
	first.app.Close()
	first.leave(t)
	agree(t, []*node{second})
	back := start(t, "a", bus, backend.Timing{}, opts)
	agree(t, []*node{back, second})
	if time.Since(began) >= wait {
		return false
	}
	sink.waitFor(t, "DiskFull")
	sink.expect(t, "DiskFull", second.external())
	return true
}

// A node that joins late has silences and notification log from the others.
func TestJoinerKnowsWhatWasSent(t *testing.T) {
	t.Parallel()
	sink, bus := newSink(t), newBus(t)
	file := configFile(t, config(sink.url))
	opts := alertmanager.Options{ConfigFile: file}
	second := start(t, "b", bus, backend.Timing{}, opts)
	id := second.silenceOf(t, "Maintenance")
	fire(t, []*node{second}, "DiskFull")
	sink.waitFor(t, "DiskFull")

	first := start(t, "a", bus, backend.Timing{}, opts)
	agree(t, []*node{first, second})
	first.silenceBecomes(t, id, "active")
	fire(t, []*node{first}, "DiskFull", "Maintenance", "New")
	sink.waitFor(t, "New")
	turnsOver(t, 1)
	sink.expect(t, "DiskFull", second.external())
	sink.expect(t, "Maintenance")
}

// When a receiver that failed for a while comes back, all nodes are attempting
// to send. One of them sends.
func TestOneDeliveryAfterTheReceiverFailed(t *testing.T) {
	t.Parallel()
	const rounds = 3 // of attempts of each that fail
	sink, bus := newSink(t), newBus(t)
	var attempts sync.Map // by external URL
	failing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // one that is cut short is no JSON
		var m struct{ ExternalURL string }
		_ = json.Unmarshal(body, &m)
		counter, _ := attempts.LoadOrStore(m.ExternalURL, new(atomic.Int32))
		counter.(*atomic.Int32).Add(1)
		all := 0
		attempts.Range(func(_, v any) bool {
			if v.(*atomic.Int32).Load() > rounds {
				all++
			}
			return true
		})
		if all < 2 {
			http.Error(w, "out of order", http.StatusInternalServerError)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		sink.ServeHTTP(w, r)
	}))
	t.Cleanup(failing.Close)
	opts := alertmanager.Options{ConfigFile: configFile(t, config(failing.URL)), PeerTimeout: 50 * time.Millisecond}
	nodes := []*node{start(t, "a", bus, backend.Timing{}, opts), start(t, "b", bus, backend.Timing{}, opts)}
	agree(t, nodes)
	fire(t, nodes, "DiskFull")
	sink.waitFor(t, "DiskFull")
	testkit.Eventually(t, patience, func() error { // until each has had an attempt since then
		for _, n := range nodes {
			counter, _ := attempts.Load(n.external())
			asked := float64(counter.(*atomic.Int32).Load())
			if done := n.metric(t, "alertmanager_notification_requests_total", `integration="webhook"`); slices.Contains(sink.from("DiskFull"), n.external()) {
				continue
			} else if done <= asked {
				return fmt.Errorf("%s: %v attempts, %v of them arrived", n.name, done, asked)
			}
		}
		return nil
	})
	if from := sink.from("DiskFull"); len(from) != 1 {
		t.Errorf("it was delivered by %q, want one of them", from)
	}
}
