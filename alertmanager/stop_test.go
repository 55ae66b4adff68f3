package alertmanager_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
)

// slow makes sink answer notifications only when the test says so.
func slow(t *testing.T, sink *sink) (url string, arrived <-chan struct{}, answer func()) {
	t.Helper()
	come, release := make(chan struct{}, 10), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sink.ServeHTTP(w, r)
		come <- struct{}{}
		<-release
	}))
	t.Cleanup(server.Close)
	return server.URL, come, func() { close(release) }
}

// A node that is stopped before its receiver has answered waits for the answer,
// so that the next node does not send again.
func TestStopEndsWhatIsBeingSent(t *testing.T) {
	t.Parallel()
	sink, bus := newSink(t), newBus(t)
	url, arrived, answer := slow(t, sink)
	opts := alertmanager.Options{ConfigFile: configFile(t, config(url))}
	first := start(t, "a", bus, backend.Timing{}, opts)
	second := start(t, "b", bus, backend.Timing{}, opts)
	agree(t, []*node{first, second})
	fire(t, []*node{first, second}, "DiskFull")
	<-arrived
	closed := make(chan struct{})
	go func() { defer close(closed); first.app.Close() }()
	select {
	case <-closed:
		t.Error("it was closed while a notification was on its way")
	case <-time.After(peerTimeout / 4):
	}
	answer()
	<-closed
	turnsOver(t, 2)
	sink.expect(t, "DiskFull", first.external())
}

// A notification that waits for its turn is given up.
func TestStopDoesNotWaitForTurns(t *testing.T) {
	t.Parallel()
	sink, bus := newSink(t), newBus(t)
	opts := alertmanager.Options{ConfigFile: configFile(t, config(sink.url)), PeerTimeout: time.Minute}
	first := start(t, "a", bus, backend.Timing{}, opts)
	second := start(t, "b", bus, backend.Timing{}, opts)
	agree(t, []*node{first, second})
	fire(t, []*node{second}, "DiskFull")
	<-time.After(2 * groupWait) // it waits for its turn
	began := time.Now()
	second.app.Close()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it was closed after %v", took)
	}
	sink.expect(t, "DiskFull")
}
