// Package browser looks at pages in a real browser, as a reader does.
package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// screenshots is a directory to put pictures of the page into, for the
// documentation. Without it none are made.
var screenshots = os.Getenv("CLUSTERCHANNEL_SCREENSHOTS")

// TB is the part of testing.TB that is used here.
type TB interface {
	Cleanup(func())                    // as of testing.TB
	Errorf(format string, args ...any) // as of testing.TB
	Fatal(args ...any)                 // as of testing.TB
	Helper()                           // as of testing.TB
	Skip(args ...any)                  // as of testing.TB
	TempDir() string                   // as of testing.TB
}

// Patience is how long a page may take to show something.
const Patience = 20 * time.Second

// Browser is one tab of a real browser.
type Browser struct {
	ctx context.Context

	mu       sync.Mutex
	expected []string
	troubles []string // what the console and the policy complain of
}

// New starts a headless browser, and fails at the end of the test where it
// complained of the page.
func New(t TB) *Browser {
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
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(Patience))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	tab, closeTab := chromedp.NewContext(allocator)
	b := &Browser{ctx: tab}
	t.Cleanup(func() {
		if err := chromedp.Cancel(tab); err != nil {
			t.Errorf("the browser does not end: %v", err)
		}
		closeTab()
		stop()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, trouble := range b.troubles {
			if !slices.ContainsFunc(b.expected, func(e string) bool { return strings.Contains(trouble, e) }) {
				t.Errorf("the browser says: %s", trouble)
			}
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

func (b *Browser) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		b.troubles = append(b.troubles, e.Entry.Text+" "+e.Entry.URL)
	case *runtime.EventConsoleAPICalled:
		b.troubles = append(b.troubles, fmt.Sprintf("console.%v", e.Type))
	case *runtime.EventExceptionThrown:
		b.troubles = append(b.troubles, e.ExceptionDetails.Text)
	}
}

// Expect says that complaints with that text are no failure.
func (b *Browser) Expect(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, text)
}

// Do runs actions.
func (b *Browser) Do(t TB, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// Until waits for a script to become true.
func (b *Browser) Until(t TB, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.Poll[chromedp.Void](script, chromedp.WithPollingTimeout(0))); err != nil {
		t.Fatal(fmt.Errorf("%s: %w\n%s", script, err, b.shown()))
	}
}

// shown is what the page shows, and has the focus, for a failure.
func (b *Browser) shown() string {
	ctx, cancel := context.WithTimeout(b.ctx, Patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](
		`location + "\n" + document.activeElement.outerHTML.slice(0, 200) + "\n" + [...document.querySelectorAll("[name]")].map((e) => e.name + "=" + e.value).join("\n") + "\n" + document.body.innerText`))
	if err != nil {
		return err.Error()
	}
	return text
}

// Shows waits for a text.
func (b *Browser) Shows(t TB, text string) {
	t.Helper()
	b.Until(t, fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// Eval runs a script in the page.
func Eval[T any](t TB, b *Browser, script string) T {
	t.Helper()
	result, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// Picture keeps a picture of the page where pictures are wanted.
func (b *Browser) Picture(t TB, name string) {
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

// Scheme has the reader prefer one: light or dark.
func Scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

// Zone has the reader be in a time zone.
func Zone(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name})
		return err
	})
}

// Hurry has the timers of pages that are opened from now on run so many times faster.
func Hurry(times int) chromedp.Action[chromedp.Void] {
	script := fmt.Sprintf(`(() => { const real = setTimeout; window.setTimeout = (f, ms) => real(f, ms / %d); })()`, times)
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		return err
	})
}

// Contrast is a script that returns the texts whose contrast with what is behind them is below
// what WCAG asks for, 4.5.
const Contrast = `(() => {
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

// Unnamed is a script that returns what somebody who does not see the page would miss.
const Unnamed = `(() => {
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
