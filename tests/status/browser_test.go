package status_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/status"
	"github.com/clusterchannel/clusterchannel/tests/browser"
)

// live is true once an event has arrived.
const live = `document.getElementById("live").textContent === "live"`

// TestInBrowser looks at the page as a reader does, on a desk and on a phone, by
// day and by night, and sees it follow the cluster by itself.
func TestInBrowser(t *testing.T) {
	b := browser.New(t)
	bus := memory.NewBus()
	a, c := open(t, bus, "alertmanager-0"), open(t, bus, "alertmanager-1")
	url := serve(t, status.Options{Channel: a.ClusterChannel, Gatherer: a.registry, Title: "Alertmanager"})
	b.Do(t, chromedp.EmulateViewport(1100, 900), browser.Scheme("light"), chromedp.Navigate(url))
	b.Until(t, live)
	open(t, bus, "alertmanager-2")
	b.Shows(t, "alertmanager-2 joined")
	said := "silenced"
	testkit.Eventually(t, patience, func() error {
		said += "."
		c.say(t, said)
		const drawn = `(document.querySelector("svg polyline")?.getAttribute("points") ?? "").split(" ").length`
		if n := browser.Eval[int](t, b, drawn); n < 6 {
			return fmt.Errorf("the chart has %d points", n)
		}
		return nil
	})
	b.Shows(t, "From a broadcast elsewhere")
	b.Until(t, `!/\b0 B/.test(document.getElementById("states").innerText)`)

	day := browser.Eval[string](t, b, `getComputedStyle(document.body).backgroundColor`)
	for _, look := range []struct {
		name          string
		width, height int64
		scheme        string
	}{
		{"status-light", 1100, 900, "light"},
		{"status-dark", 1100, 900, "dark"},
		{"status-phone", 360, 740, "light"},
		{"status-phone-dark", 320, 568, "dark"},
	} {
		b.Do(t, chromedp.EmulateViewport(look.width, look.height), browser.Scheme(look.scheme))
		if wide := browser.Eval[float64](t, b, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
			t.Errorf("%s: the page is %v pixels wider than the screen", look.name, wide)
		}
		if now := browser.Eval[string](t, b, `getComputedStyle(document.body).backgroundColor`); (now == day) != (look.scheme == "light") {
			t.Errorf("%s: the background is %s, by day %s", look.name, now, day)
		}
		if weak := browser.Eval[[]string](t, b, browser.Contrast); len(weak) > 0 {
			t.Errorf("%s: too little contrast: %q", look.name, weak)
		}
		if missing := browser.Eval[[]string](t, b, browser.Unnamed); len(missing) > 0 {
			t.Errorf("%s: missing: %q", look.name, missing)
		}
		b.Picture(t, look.name)
	}
	c.leave(t)
	b.Shows(t, "alertmanager-1 is gone")
	bus.Stop()
	b.Shows(t, "detached")
}

// TestFocusStays: who has moved to a table, or to what is folded, by the keyboard is
// not thrown out of it by the next update, and keeps what is opened and marked.
func TestFocusStays(t *testing.T) {
	b := browser.New(t)
	bus := memory.NewBus()
	a := open(t, bus, "a")
	url := serve(t, status.Options{Channel: a.ClusterChannel, Gatherer: a.registry})
	b.Do(t, chromedp.Navigate(url), chromedp.Focus("#members .scroll"))
	open(t, bus, "late")
	b.Until(t, `document.getElementById("members").innerText.includes("late")`)
	if !browser.Eval[bool](t, b, `document.activeElement === document.querySelector("#members .scroll")`) {
		t.Error("the focus is lost")
	}
	b.Do(t, chromedp.Focus("#counters summary"), chromedp.KeyEvent(kb.Enter))
	const zeros = `document.querySelector("#counters details")`
	b.Until(t, zeros+`.open`)
	browser.Eval[bool](t, b, `getSelection().selectAllChildren(document.querySelector("#node dd")) ?? true`)
	counted := browser.Eval[string](t, b, `document.querySelector("#counters table").innerText`)
	a.say(t, "one more")
	b.Until(t, fmt.Sprintf(`document.querySelector("#counters table").innerText !== %q`, counted))
	if !browser.Eval[bool](t, b, zeros+`.open && document.activeElement.matches("#counters summary") && getSelection().toString() === "a"`) {
		t.Errorf("the focus, what was opened or what was marked is lost: %s", browser.Eval[string](t, b, `document.activeElement.outerHTML.slice(0, 100) + getSelection()`))
	}
}

// TestAfterAnError: an answer that is an error, as of a proxy while the node
// restarts, does not end the stream for good.
func TestAfterAnError(t *testing.T) {
	b := browser.New(t)
	b.Expect("503")
	b.Expect("ERR_INCOMPLETE_CHUNKED_ENCODING")
	a := open(t, memory.NewBus(), "a")
	page := status.New(status.Options{Channel: a.ClusterChannel, Interval: 100 * time.Millisecond})
	var away atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			http.Error(w, "no node", http.StatusServiceUnavailable)
			return
		}
		page.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		page.Close()
		server.Close()
	})
	b.Do(t, chromedp.Navigate(server.URL))
	b.Until(t, live)
	away.Store(true)
	server.CloseClientConnections()
	b.Until(t, `document.getElementById("live").textContent.includes("lost")`)
	away.Store(false)
	b.Until(t, live)
}

// mute is a writer from whose node nothing arrives, as behind a network that is cut.
type mute struct{ http.ResponseWriter }

func (mute) Write(b []byte) (int, error) { return len(b), nil }
func (mute) WriteHeader(int)             {}
func (mute) FlushError() error           { return nil }

// switched writes as mute does, once that is on.
type switched struct {
	http.ResponseWriter
	cut *atomic.Bool
}

func (s switched) to() http.ResponseWriter {
	if s.cut.Load() {
		return mute{s.ResponseWriter}
	}
	return s.ResponseWriter
}
func (s switched) Write(b []byte) (int, error) { return s.to().Write(b) }
func (s switched) WriteHeader(code int)        { s.to().WriteHeader(code) }
func (s switched) FlushError() error           { return http.NewResponseController(s.to()).Flush() }

// TestAfterSilence: a connection on which nothing arrives any more, without an end, is
// told as lost and made anew; one without news is not.
func TestAfterSilence(t *testing.T) {
	b := browser.New(t)
	a := open(t, memory.NewBus(), "a")
	page := status.New(status.Options{Channel: a.ClusterChannel, Interval: 100 * time.Millisecond})
	var cut atomic.Bool
	var streams atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "text/event-stream" {
			streams.Add(1)
		}
		page.ServeHTTP(switched{w, &cut}, r)
	}))
	t.Cleanup(func() {
		page.Close()
		server.CloseClientConnections()
		server.Close()
	})
	b.Do(t, browser.Hurry(10), chromedp.Navigate(server.URL))
	b.Until(t, live)
	cut.Store(true)
	b.Until(t, `document.getElementById("live").textContent.includes("lost")`)
	cut.Store(false)
	b.Until(t, live)
	if n := streams.Load(); n < 2 {
		t.Errorf("%d streams were opened, want a second one", n)
	}
}

// TestHostileInBrowser shows a page in which every text is an attack.
func TestHostileInBrowser(t *testing.T) {
	b := browser.New(t)
	const attack = `'"></script></style></title><script>window.owned=1</script><img src=x onerror="window.owned=1"><svg onload="window.owned=1">`
	url := serve(t, status.Options{Channel: hostile{text: attack}, Title: attack})
	b.Do(t, chromedp.Navigate(url))
	b.Until(t, live)
	if browser.Eval[bool](t, b, `"owned" in window || document.images.length > 0`) {
		t.Error("a text became part of the page")
	}
	if !browser.Eval[bool](t, b, `document.getElementById("members").innerText.includes("<script>window.owned=1")`) {
		t.Error("the texts are not shown as they are")
	}
	b.Breach(t)
}
