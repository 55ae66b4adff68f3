// Package alertmanager_test looks at the page of package alertmanager in a
// browser.
package alertmanager_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/tests/browser"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is one instance and where its page is.
type node struct {
	url    string
	opened int // how often the page was
	held   atomic.Pointer[held]
}

// held are answers that are kept back.
type held struct {
	request string // the beginning of method and path of those that are asked for
	got     chan struct{}
	release chan struct{}
}

// hold keeps back the answers to requests that begin so, as of now. asked waits for
// one; what follows it is answered at once. release ends all of it.
func (n *node) hold(t *testing.T, request string) (asked, release func()) {
	t.Helper()
	h := &held{request, make(chan struct{}, 1), make(chan struct{})}
	n.held.Store(h)
	end := sync.OnceFunc(func() { n.held.CompareAndSwap(h, nil); close(h.release) })
	t.Cleanup(end)
	return func() {
		t.Helper()
		select {
		case <-h.got:
			n.held.CompareAndSwap(h, nil)
		case <-time.After(browser.Patience):
			t.Fatalf("nothing asked for %s", request)
		}
	}, end
}

// slow answers as h does, and keeps back what is held.
func (n *node) slow(h http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		held := n.held.Load()
		if held == nil || !strings.HasPrefix(r.Method+" "+r.URL.Path, held.request) {
			h.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		select {
		case held.got <- struct{}{}:
		default:
		}
		<-held.release
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()) // to whom may be gone
	}
}

// start starts an instance below a route prefix, which ends with the test.
func start(t *testing.T, prefix, config string) *node {
	t.Helper()
	file := filepath.Join(t.TempDir(), "alertmanager.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	app, err := alertmanager.New(alertmanager.Options{ConfigFile: file, RoutePrefix: prefix, Logger: slog.New(slog.DiscardHandler)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{}
	server := httptest.NewServer(n.slow(app.Handler()))
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.Close()
		app.Close()
	})
	n.url = server.URL + prefix
	return n
}

// call calls the API, and decodes its answer into answer where that is not nil.
func (n *node) call(t *testing.T, method, path string, body, answer any) {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, n.url+"/api/v2/"+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	b, err = io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, response.Status, b)
	}
	if err == nil && answer != nil {
		err = json.Unmarshal(b, answer)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// alert is one that fires.
type alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

func named(name string, labels ...string) alert {
	a := alert{Labels: map[string]string{"alertname": name}}
	for i := 0; i < len(labels); i += 2 {
		a.Labels[labels[i]] = labels[i+1]
	}
	return a
}

// fire sends alerts, and waits until they are in groups.
func (n *node) fire(t *testing.T, alerts ...alert) {
	t.Helper()
	n.call(t, http.MethodPost, "alerts", alerts, nil)
	testkit.Eventually(t, browser.Patience, func() error {
		var all []struct{ Fingerprint string }
		n.call(t, http.MethodGet, "alerts", nil, &all)
		var groups []struct {
			Alerts []struct{ Fingerprint string }
		}
		n.call(t, http.MethodGet, "alerts/groups", nil, &groups)
		grouped := map[string]bool{}
		for _, g := range groups {
			for _, a := range g.Alerts {
				grouped[a.Fingerprint] = true
			}
		}
		if len(grouped) != len(all) {
			return fmt.Errorf("%d of %d alerts are in groups", len(grouped), len(all))
		}
		return nil
	})
}

// muted waits until the alerts with that name are, by an interval of time.
func (n *node) muted(t *testing.T, alertname string) {
	t.Helper()
	testkit.Eventually(t, browser.Patience, func() error {
		var groups []struct{ Labels map[string]string }
		n.call(t, http.MethodGet, "alerts/groups?muted=false", nil, &groups)
		for _, g := range groups {
			if g.Labels["alertname"] == alertname {
				return fmt.Errorf("%s is not muted", alertname)
			}
		}
		return nil
	})
}

type matcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual bool   `json:"isEqual"`
}

type silence struct {
	ID        string            `json:"id,omitempty"`
	Matchers  []matcher         `json:"matchers"`
	StartsAt  time.Time         `json:"startsAt"`
	EndsAt    time.Time         `json:"endsAt"`
	CreatedBy string            `json:"createdBy"`
	Comment   string            `json:"comment"`
	Notes     map[string]string `json:"annotations,omitempty"`
	Status    struct {
		State string `json:"state"`
	} `json:"status,omitzero"`
}

// silences lists those of the instance.
func (n *node) silences(t *testing.T) (all []silence) {
	t.Helper()
	n.call(t, http.MethodGet, "silences", nil, &all)
	return all
}

// silence makes one of the alerts with that name, from now on.
func (n *node) silence(t *testing.T, alertname string) (id string) {
	t.Helper()
	now := time.Now()
	var made struct{ SilenceID string }
	n.call(t, http.MethodPost, "silences", silence{
		Matchers: []matcher{{"alertname", alertname, false, true}}, StartsAt: now, EndsAt: now.Add(time.Hour), CreatedBy: "test", Comment: "because",
	}, &made)
	return made.SilenceID
}
