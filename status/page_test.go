package status_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/status"
)

func TestJSON(t *testing.T) {
	bus := memory.NewBus()
	a, b := open(t, bus, "a"), open(t, bus, "b")
	_, url := serve(t, status.Options{Channel: a.ClusterChannel, Gatherer: a.registry})
	testkit.Eventually(t, patience, func() error { return sees(look(t, url), "a", "b") })
	b.say("hello from b")
	testkit.Eventually(t, patience, func() error {
		s := look(t, url)
		if len(s.States) == 0 {
			return fmt.Errorf("no states")
		}
		switch st := s.States[0]; {
		case s.Node.Ready != "synced":
			return fmt.Errorf("it is %s", s.Node.Ready)
		case !measured(s, "propagation"):
			b.say("hello from b") // for the next interval to have one
			return fmt.Errorf("the charts: %+v", s.Charts)
		case st.Key != "silences" || st.Size != len("hello from b") || st.Digest == "" || st.Exchanged == nil || st.Resyncs == 0:
			return fmt.Errorf("the state: %+v", st)
		case s.Members[1].Said == "" || s.Members[1].SaidAt == nil:
			return fmt.Errorf("b said nothing: %+v", s.Members[1])
		}
		return nil
	})
	s := look(t, url+"/status.json")
	if n := s.Node; n.Name != "a" || n.Position != 0 || n.Status != "attached" || n.Since == nil || n.Cluster != "alerts" || n.Backend != "memory" || n.Epoch == 0 || n.Ready != "synced" {
		t.Errorf("the node: %+v", n)
	}
	for _, metric := range []string{"clusterchannel_gaps_total", "clusterchannel_resyncs_total{", "clusterchannel_frames_rejected_total"} {
		if !slices.ContainsFunc(s.Counters, func(c status.Counter) bool { return strings.HasPrefix(c.Of, metric) }) {
			t.Errorf("%s is not among the counters: %v", metric, s.Counters)
		}
	}
	if _, body := ask(t, url+"?format=json", "text/html"); !strings.HasPrefix(body, "{") {
		t.Errorf("format=json: %s", body)
	}
	b.leave(t)
	testkit.Eventually(t, patience, func() error { return sees(look(t, url), "a") })
	var kinds []string
	for _, e := range look(t, url).Events {
		kinds = append(kinds, e.Kind)
	}
	if slices.Index(kinds, "gone") == -1 || slices.Index(kinds, "gone") > slices.Index(kinds, "joined") {
		t.Errorf("the events, the newest first: %q", kinds)
	}
}

// measured reports whether each line of a chart has a value above zero.
func measured(s status.Snapshot, id string) bool {
	i := slices.IndexFunc(s.Charts, func(c status.Chart) bool { return c.ID == id })
	return i >= 0 && !slices.ContainsFunc(s.Charts[i].Lines, func(l status.Line) bool {
		return !slices.ContainsFunc(l.Values, func(v *float64) bool { return v != nil && *v > 0 })
	})
}

func says(s status.Snapshot, level string, texts ...string) error {
	for _, text := range texts {
		if !strings.Contains(s.Summary.Text, text) {
			return fmt.Errorf("it says %+v, want %q", s.Summary, text)
		}
	}
	if s.Summary.Level != level || (s.Summary.Do == "") != (level == "good") {
		return fmt.Errorf("it says %+v, want it to be %s", s.Summary, level)
	}
	return nil
}

// The page begins with what one asks at night.
func TestSummary(t *testing.T) {
	bus := memory.NewBus()
	a, b := open(t, bus, "a"), open(t, bus, "b")
	_, first := serve(t, status.Options{Channel: a.ClusterChannel, Act: "sends"})
	_, second := serve(t, status.Options{Channel: b.ClusterChannel, Act: "sends"})
	until := func(url, level string, texts ...string) {
		t.Helper()
		testkit.Eventually(t, patience, func() error { return says(look(t, url), level, texts...) })
	}
	until(first, "good", "All is well.", "There are 2 members; this node sends first.")
	until(second, "good", "All is well.", "There are 2 members; a sends first.")
	if p := look(t, first).Node.Place; p != "0 of 2 (sends first)" {
		t.Errorf("the place of a: %q", p)
	}
	if p := look(t, second).Node.Place; p != "1 of 2 (sends after 1 other)" {
		t.Errorf("the place of b: %q", p)
	}
	b.leave(t)
	until(first, "warn", "b is gone since ")
	until(second, "bad", "has left the cluster")
	open(t, bus, "b")
	until(first, "good", "All is well.")
	bus.Stop()
	until(first, "bad", "is cut off from the others since ", "memory: ", "It keeps its last view, of 2, until ", "and then acts alone")
	bus.Start()
	until(first, "good", "All is well.")
}

// Counters of zero are folded away.
func TestZeroCountersAreFolded(t *testing.T) {
	a := open(t, memory.NewBus(), "a")
	_, url := serve(t, status.Options{Channel: a.ClusterChannel, Gatherer: a.registry})
	_, html := ask(t, url, "text/html")
	shown, folded, ok := strings.Cut(html, "<details>")
	if !ok || strings.Contains(shown, "clusterchannel_gaps_total") || !strings.Contains(folded, "clusterchannel_gaps_total") {
		t.Errorf("a counter of zero is not folded: %s", html)
	}
}

func sees(s status.Snapshot, names ...string) error {
	var all []string
	for _, m := range s.Members {
		all = append(all, m.Name)
	}
	if !slices.Equal(all, names) {
		return fmt.Errorf("the members are %q, want %q", all, names)
	}
	return nil
}

func TestDetachedSaysWhy(t *testing.T) {
	bus := memory.NewBus()
	a := open(t, bus, "a")
	_, url := serve(t, status.Options{Channel: a.ClusterChannel})
	testkit.Eventually(t, patience, func() error {
		if s := look(t, url); s.Node.Status != "attached" {
			return fmt.Errorf("the node: %+v", s.Node)
		}
		return nil
	})
	bus.Stop()
	testkit.Eventually(t, patience, func() error {
		if s := look(t, url); s.Node.Status != "detached" || s.Node.Why == "" {
			return fmt.Errorf("the node: %+v", s.Node)
		}
		return nil
	})
	if _, html := ask(t, url, "text/html"); !strings.Contains(html, "<strong>detached</strong>") {
		t.Error("the page does not say so")
	}
}

func TestHostileTexts(t *testing.T) {
	const attack = `"><script>alert(1)</script>`
	_, url := serve(t, status.Options{Channel: hostile{attack}, Title: attack})
	response, html := ask(t, url, "text/html,application/xhtml+xml")
	if n := strings.Count(html, "<script>"); n != 1 { // the page's own
		t.Errorf("%d scripts in the page", n)
	}
	if !strings.Contains(html, "&lt;script&gt;alert(1)") {
		t.Error("the attack is not shown as text")
	}
	policy := response.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "style-src 'sha256-", "frame-ancestors 'none'", "base-uri 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("the policy is not strict: %s", policy)
	}
}

// TestStream reads the events that keep the page up to date.
func TestStream(t *testing.T) {
	bus := memory.NewBus()
	a := open(t, bus, "a")
	page, url := serve(t, status.Options{Channel: a.ClusterChannel, Gatherer: a.registry})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, 1<<20)
	until := func(text string) {
		t.Helper()
		for lines.Scan() {
			if strings.Contains(lines.Text(), text) {
				if !strings.HasPrefix(lines.Text(), "data: ") {
					t.Errorf("a line of no event: %q", lines.Text())
				}
				return
			}
		}
		t.Fatalf("the stream ends without %q: %v", text, lines.Err())
	}
	until(">a (this node)")
	open(t, bus, "late")
	until("late joined")
	page.Close()
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream did not end as it should: %v", err)
	}
	if response, _ := ask(t, url, "text/event-stream"); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a stream of a closed page: %s", response.Status)
	}
	if response, _ := ask(t, url, "text/html"); response.StatusCode != http.StatusOK {
		t.Errorf("a closed page: %s", response.Status)
	}
}

// TestSignOfLife: where nothing changes, the stream says so with an event.
func TestSignOfLife(t *testing.T) {
	t.Parallel()
	_, url := serve(t, status.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "text/event-stream")
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it was read
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if lines.Text() == "event: alive" {
			return
		}
	}
	t.Errorf("nothing says that it is alive: %v", lines.Err())
}

func TestReadOnly(t *testing.T) {
	page := status.New(status.Options{})
	defer page.Close()
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/status", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d, Allow: %q", w.Code, w.Header().Get("Allow"))
	}
	w = httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/status", nil))
	if !strings.Contains(w.Body.String(), "High availability is off") {
		t.Errorf("without a channel: %s", w.Body)
	}
}

// TestEventsAreBounded makes more members join than events are kept.
func TestEventsAreBounded(t *testing.T) {
	bus := memory.NewBus()
	a := open(t, bus, "a")
	_, url := serve(t, status.Options{Channel: a.ClusterChannel, Events: 3})
	testkit.Eventually(t, patience, func() error { // its own events take room as well
		if ready := look(t, url).Node.Ready; ready == "settling" {
			return fmt.Errorf("a is %s", ready)
		}
		return nil
	})
	for i := range 4 {
		name := fmt.Sprint("n", i)
		open(t, bus, name)
		testkit.Eventually(t, patience, func() error {
			events := look(t, url).Events
			if len(events) > 3 {
				t.Fatalf("%d events are kept", len(events))
			}
			if !slices.ContainsFunc(events, func(e status.Event) bool { return strings.HasPrefix(e.Text, name+" joined") }) {
				return fmt.Errorf("%s is not in the events: %v", name, events)
			}
			return nil
		})
	}
}

// troubled is a channel whose transport works, but not as it should.
type troubled struct{ backend.ClusterChannel }

func (c troubled) Inspect() backend.Inspection {
	return backend.Inspection{Troubles: []backend.Trouble{{What: "sentinels", Err: errors.New("they disagree")}}}
}

// TestTroubles: an attached node says what is wrong nevertheless.
func TestTroubles(t *testing.T) {
	_, url := serve(t, status.Options{Channel: troubled{open(t, memory.NewBus(), "a").ClusterChannel}})
	testkit.Eventually(t, patience, func() error { // it may not be attached yet
		if s := look(t, url).Summary; s.Level != "warn" || !strings.Contains(s.Text, "Sentinels: they disagree.") {
			return fmt.Errorf("the summary: %+v", s)
		}
		return nil
	})
}

// A chart says what it shows, and that there was nothing where there was nothing.
func TestCaptions(t *testing.T) {
	v := func(f float64) *float64 { return &f }
	times := func(p50, p99 []*float64) status.Chart {
		return status.Chart{Title: "Delay", Unit: "seconds", Lines: []status.Line{{Name: "half within", Values: p50}, {Name: "most within", Values: p99}}}
	}
	for want, c := range map[string]status.Chart{
		"Delay: none": times([]*float64{nil}, nil),
		"Delay: half within 2ms, most within 4ms lately; the top is 8ms": times([]*float64{v(.001), v(.002)}, []*float64{v(.008), v(.004)}),
		"Delay: none lately; the top is 8ms":                             times([]*float64{v(.001), nil}, []*float64{v(.008), nil}),
		"Updates: 0 a second lately; the top is 3 a second":              {Title: "Updates", Unit: "a second", Lines: []status.Line{{Name: "updates", Values: []*float64{v(3), v(0)}}}},
	} {
		if got := c.Caption(); got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}
