package status_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/status"
)

// screenshots is a directory to put pictures of the page into, for the
// documentation. Without it none are made.
var screenshots = os.Getenv("CLUSTERCHANNEL_SCREENSHOTS")

// browser is one tab of a real browser.
type browser struct {
	ctx context.Context

	mu       sync.Mutex
	troubles []string // what the console and the policy complain of
}

// newBrowser starts a headless browser, and fails at the end of the test where it
// complained of the page.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CCTEST_REQUIRE_BROWSER") == "1" {
			t.Fatal("no browser is installed: chromium")
		}
		t.Skip("no browser is installed: chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	tab, closeTab := chromedp.NewContext(allocator)
	b := &browser{ctx: tab}
	t.Cleanup(func() {
		if err := chromedp.Cancel(tab); err != nil {
			t.Errorf("the browser does not end: %v", err)
		}
		closeTab()
		stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, trouble := range b.troubles {
			t.Errorf("the browser says: %s", trouble)
		}
	})
	// The first action starts the browser, which lives as long as its context.
	err := chromedp.Do(tab, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, log.Enable, cdp.Empty{})
		return err
	}))
	if err == nil {
		err = chromedp.Listen(tab, b.listen)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		b.troubles = append(b.troubles, e.Entry.Text)
	case *runtime.EventExceptionThrown:
		b.troubles = append(b.troubles, e.ExceptionDetails.Text)
	}
}

func (b *browser) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// until waits for a script to become true.
func (b *browser) until(t *testing.T, script string) {
	t.Helper()
	b.do(t, chromedp.Poll[chromedp.Void](script, chromedp.WithPollingTimeout(patience)))
}

// shows waits for a text.
func (b *browser) shows(t *testing.T, text string) {
	t.Helper()
	b.until(t, fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// eval runs a script in the page.
func eval[T any](t *testing.T, b *browser, script string) T {
	t.Helper()
	result, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// picture keeps one where pictures are wanted.
func (b *browser) picture(t *testing.T, name string) {
	t.Helper()
	if screenshots == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(screenshots, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// live is true once an event has arrived.
const live = `document.getElementById("live").textContent === "live"`

func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

// contrast returns the texts whose contrast with what is behind them is below
// what WCAG asks for, 4.5.
const contrast = `(() => {
	const rgb = (text) => text.match(/[\d.]+/g).map(Number);
	const light = (text) => {
		const [r, g, b] = rgb(text).slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const color = getComputedStyle(e).backgroundColor;
			if (rgb(color)[3] !== 0) return color;
		}
		return "rgb(255, 255, 255)";
	};
	const weak = [];
	for (const e of document.querySelectorAll("body, body *")) {
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.tagName === "SCRIPT" || e.closest("svg")) continue;
		const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a);
		if ((a + 0.05) / (b + 0.05) < 4.5) weak.push(e.tagName + " " + e.textContent.trim().slice(0, 40));
	}
	return weak;
})()`

// unnamed returns what somebody who does not see the page would miss.
const unnamed = `(() => {
	const missing = [];
	for (const name of ["header", "main", "footer", "h1"]) if (document.querySelectorAll(name).length !== 1) missing.push("one " + name);
	if (!document.documentElement.lang) missing.push("lang");
	for (const s of document.querySelectorAll("[aria-labelledby]"))
		if (!document.getElementById(s.getAttribute("aria-labelledby"))?.textContent.trim()) missing.push("the name of " + s.outerHTML.slice(0, 60));
	for (const t of document.querySelectorAll("table")) {
		if (t.querySelectorAll("thead th[scope=col]").length !== t.rows[0].cells.length) missing.push("scope of columns");
		for (const r of t.tBodies[0].rows) if (!r.querySelector("th[scope=row]")) missing.push("scope of a row");
	}
	const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
	if (new Set(ids).size !== ids.length) missing.push("unique ids");
	return missing;
})()`

// TestInBrowser looks at the page as a reader does, on a desk and on a phone, by
// day and by night, and sees it follow the cluster by itself.
func TestInBrowser(t *testing.T) {
	b := newBrowser(t)
	bus := memory.NewBus()
	a, c := open(t, bus, "alertmanager-0"), open(t, bus, "alertmanager-1")
	url := serve(t, status.Options{Channel: a.ClusterChannel, Gatherer: a.registry, Title: "Alertmanager"})
	b.do(t, chromedp.EmulateViewport(1100, 900), scheme("light"), chromedp.Navigate(url))
	b.until(t, live)
	open(t, bus, "alertmanager-2")
	b.shows(t, "alertmanager-2 joined")
	said := "silenced"
	testkit.Eventually(t, patience, func() error {
		said += "."
		c.say(t, said)
		const drawn = `(document.querySelector("svg polyline")?.getAttribute("points") ?? "").split(" ").length`
		if n := eval[int](t, b, drawn); n < 6 {
			return fmt.Errorf("the chart has %d points", n)
		}
		return nil
	})
	b.shows(t, "From a broadcast elsewhere")
	b.until(t, `!/\b0 B/.test(document.getElementById("states").innerText)`)

	day := eval[string](t, b, `getComputedStyle(document.body).backgroundColor`)
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
		b.do(t, chromedp.EmulateViewport(look.width, look.height), scheme(look.scheme))
		if wide := eval[float64](t, b, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
			t.Errorf("%s: the page is %v pixels wider than the screen", look.name, wide)
		}
		if now := eval[string](t, b, `getComputedStyle(document.body).backgroundColor`); (now == day) != (look.scheme == "light") {
			t.Errorf("%s: the background is %s, by day %s", look.name, now, day)
		}
		if weak := eval[[]string](t, b, contrast); len(weak) > 0 {
			t.Errorf("%s: too little contrast: %q", look.name, weak)
		}
		if missing := eval[[]string](t, b, unnamed); len(missing) > 0 {
			t.Errorf("%s: missing: %q", look.name, missing)
		}
		b.picture(t, look.name)
	}
	c.leave(t)
	b.shows(t, "alertmanager-1 is gone")
	bus.Stop()
	b.shows(t, "detached")
}

// TestFocusStays: who has moved to a table by the keyboard is not thrown out of
// it by the next update.
func TestFocusStays(t *testing.T) {
	b := newBrowser(t)
	bus := memory.NewBus()
	a := open(t, bus, "a")
	url := serve(t, status.Options{Channel: a.ClusterChannel, Gatherer: a.registry})
	b.do(t, chromedp.Navigate(url), chromedp.Focus("#members .scroll"))
	open(t, bus, "late")
	b.until(t, `document.getElementById("members").innerText.includes("late")`)
	if !eval[bool](t, b, `document.activeElement === document.querySelector("#members .scroll")`) {
		t.Error("the focus is lost")
	}
}

// TestHostileInBrowser shows a page in which every text is an attack.
func TestHostileInBrowser(t *testing.T) {
	b := newBrowser(t)
	const attack = `'"></script></style></title><script>window.owned=1</script><img src=x onerror="window.owned=1"><svg onload="window.owned=1">`
	url := serve(t, status.Options{Channel: hostile{text: attack}, Title: attack})
	b.do(t, chromedp.Navigate(url))
	b.until(t, live)
	if eval[bool](t, b, `"owned" in window || document.images.length > 0`) {
		t.Error("a text became part of the page")
	}
	if !eval[bool](t, b, `document.getElementById("members").innerText.includes("<script>window.owned=1")`) {
		t.Error("the texts are not shown as they are")
	}
}
