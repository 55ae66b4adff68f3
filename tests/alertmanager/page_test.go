package alertmanager_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/clusterchannel/clusterchannel/tests/browser"
)

const twoTeams = `
route:
  receiver: ops
  group_by: [alertname]
  routes:
    - matchers: [team="web"]
      receiver: web (on call)
receivers: [{name: ops}, {name: web (on call)}]
`

const (
	asked = `document.getElementById("live").textContent !== "not live yet"`

	// unlabelled returns the inputs that have no name, and the sections that are
	// shown besides the first one.
	unlabelled = `[...document.querySelectorAll("input, select, textarea")].filter((e) => !e.labels?.[0]?.textContent.trim()).map((e) => e.outerHTML)
		.concat([...document.querySelectorAll("main > section:not([hidden])")].slice(1).map((e) => e.id))`

	wider = `document.documentElement.scrollWidth - innerWidth`
)

// open opens an address below the page, and waits until it shows text.
func (n *node) open(t *testing.T, b *browser.Browser, hash, text string) {
	t.Helper()
	n.opened++ // another address each time, for the browser to load the page anew
	b.Do(t, chromedp.Navigate(fmt.Sprintf("%s/?%d%s", n.url, n.opened, hash)))
	b.Until(t, asked)
	b.Shows(t, text)
}

// TestPage looks at every view, on a desk and on a phone, by day and by night.
func TestPage(t *testing.T) {
	b := browser.New(t)
	n := start(t, "", twoTeams)
	n.fire(t, alert{
		Labels:       map[string]string{"alertname": "DiskFull", "severity": "critical", "instance": "db-1:9100"},
		Annotations:  map[string]string{"summary": "The disk of db-1 is 98 % full", "runbook_url": "https://runbooks.example/DiskFull"},
		GeneratorURL: "https://prometheus.example/graph",
	}, named("DiskFull", "severity", "warning", "instance", "db-2:9100"), named("Slow", "team", "web", "severity", "warning"), named("Known", "team", "web"))
	id := n.silence(t, "Known")

	n.open(t, b, "", "3 alerts in 2 groups")
	b.Shows(t, "To web (on call): 1 alert")
	for _, link := range []string{"https://runbooks.example/DiskFull", "https://prometheus.example/graph"} {
		if !browser.Eval[bool](t, b, fmt.Sprintf(`[...document.links].some((a) => a.href === %q)`, link)) {
			t.Errorf("there is no link to %s", link)
		}
	}
	for _, look := range []struct {
		name          string
		width, height int64
		scheme        string
	}{
		{"alerts-light", 1100, 900, "light"}, {"alerts-dark", 1100, 900, "dark"}, {"alerts-phone", 360, 740, "light"}, {"alerts-small", 320, 568, "dark"},
	} {
		b.Do(t, chromedp.EmulateViewport(look.width, look.height), browser.Scheme(look.scheme))
		for _, view := range []struct{ hash, text string }{
			{"#/alerts", "DiskFull"}, {"#/alerts?silenced=true", "Known"}, {"#/silences", `alertname="Known"`}, {"#/silences/" + id, "because"},
			{"#/silences/" + id + "/edit", "Edit silence"}, {"#/silences/new", "New silence"}, {"#/status", "route:"}, {"#/nowhere", "nothing at this address"},
		} {
			n.open(t, b, view.hash, view.text)
			if wide := browser.Eval[float64](t, b, wider); wide > 0 {
				t.Errorf("%s, %s: the page is %v pixels wider than the screen", look.name, view.hash, wide)
			}
			for what, script := range map[string]string{"too little contrast": browser.Contrast, "missing": browser.Unnamed, "without a label": unlabelled} {
				if found := browser.Eval[[]string](t, b, script); len(found) > 0 {
					t.Errorf("%s, %s: %s: %q", look.name, view.hash, what, found)
				}
			}
			if view.hash == "#/alerts" {
				b.Picture(t, look.name)
			}
		}
	}
}

// TestFilters narrows what is shown, and reads why it cannot.
func TestFilters(t *testing.T) {
	b := browser.New(t)
	b.Expect("400 (Bad Request)")
	n := start(t, "", twoTeams)
	n.fire(t, named("DiskFull", "severity", "critical"), named("Slow", "team", "web", "severity", "warning"), named("Known", "team", "web", "service.name", "shop one"))
	n.silence(t, "Known")
	n.open(t, b, "", "2 alerts in 2 groups")
	set := func(script string) {
		t.Helper()
		browser.Eval[bool](t, b, fmt.Sprintf(`(() => { const form = document.getElementById("alerts-form").elements; %s; form.filter.form.requestSubmit(); return true })()`, script))
	}
	set(`form.filter.value = 'severity=~"crit.*|x"'`)
	b.Shows(t, "1 alert in 1 group")
	b.Shows(t, "DiskFull")
	set(`form.filter.value = '{"service.name"="shop one", team!="ops"}'; form.silenced.checked = true`)
	b.Shows(t, "1 alert in 1 group")
	b.Shows(t, "Known")
	set(`form.filter.value = ''; form.receiver.value = 'web (on call)'`)
	b.Shows(t, "2 alerts in 2 groups")
	b.Shows(t, "To web (on call)")
	set(`form.group.value = 'team, severity'`)
	b.Shows(t, "2 alerts in 2 groups")
	set(`form.group.value = 'team'`)
	b.Shows(t, "2 alerts in 1 group")
	set(`form.group.value = ''`)
	b.Shows(t, "2 alerts in 2 groups")
	set(`form.active.checked = false`)
	b.Shows(t, "1 alert in 1 group")
	set(`form.active.checked = form.silenced.checked = false`)
	b.Shows(t, "No alert is in this state and matches.")
	set(`form.filter.value = 'severity'`)
	b.Shows(t, "this is no matcher: severity")
	set(`form.filter.value = 'severity=~"("'`)
	b.Shows(t, "missing closing )")
	if kept := browser.Eval[string](t, b, `document.getElementById("alerts-form").elements.filter.value`); kept != `severity=~"("` {
		t.Errorf("the filter has become %q", kept)
	}
	n.open(t, b, "#/silences", "active: 1")
	browser.Eval[bool](t, b, `(() => { const form = document.getElementById("silences-form"); form.elements.filter.value = "alertname=Other"; form.requestSubmit(); return true })()`)
	b.Shows(t, "active: 0")
}

// TestSuppressed shows why alerts are not sent.
func TestSuppressed(t *testing.T) {
	b := browser.New(t)
	n := start(t, "", `
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 1ms
  routes:
    - matchers: [alertname="Nightly"]
      mute_time_intervals: [always]
time_intervals: [{name: always, time_intervals: [{}]}]
inhibit_rules: [{source_matchers: [alertname="Down"], target_matchers: [alertname="Slow"]}]
receivers: [{name: ops}]
`)
	n.fire(t, named("Down"), named("Slow"), named("Nightly"), named("Known"))
	id := n.silence(t, "Known")
	n.muted(t, "Nightly")
	n.open(t, b, "", "1 alert in 1 group")
	for state, name := range map[string]string{"silenced": "Known", "inhibited": "Slow", "muted": "Nightly"} {
		n.open(t, b, "#/alerts?"+state+"=true", "2 alerts in 2 groups")
		shown := browser.Eval[[]string](t, b, `[...document.querySelectorAll("#groups .alert")].map((e) => e.innerText)`)
		if !slices.ContainsFunc(shown, func(text string) bool { return strings.HasPrefix(text, state) && strings.Contains(text, name) }) {
			t.Errorf("what is %s is shown as %q", state, shown)
		}
		if state == "silenced" && !browser.Eval[bool](t, b, fmt.Sprintf(`[...document.links].some((a) => a.hash === "#/silences/%s")`, id)) {
			t.Error("there is no link to the silence")
		}
	}
}

// TestMany: the page stays small, whatever the number of alerts.
func TestMany(t *testing.T) {
	b := browser.New(t)
	n := start(t, "", twoTeams)
	alerts := make([]alert, 700)
	for i := range alerts {
		alerts[i] = named(fmt.Sprint("A", i%7), "n", fmt.Sprint(i))
	}
	n.fire(t, alerts...)
	n.open(t, b, "", "700 alerts in 7 groups")
	b.Shows(t, "Not shown: 200 more.")
	if shown := browser.Eval[int](t, b, `document.querySelectorAll("#groups .alert").length`); shown != 500 {
		t.Errorf("%d alerts are shown", shown)
	}
}

// TestLinks opens what notifications link to, below a prefix.
func TestLinks(t *testing.T) {
	b := browser.New(t)
	b.Expect("404 (Not Found)")
	n := start(t, "/a/b", twoTeams)
	n.fire(t, named("DiskFull"), named("Slow", "team", "web"))
	id := n.silence(t, "Known")

	root, _, _ := strings.Cut(n.url, "/a/b")
	b.Do(t, chromedp.Navigate(root+"/#/alerts?receiver="+url.QueryEscape("web (on call)")))
	b.Shows(t, "1 alert in 1 group")
	b.Shows(t, "To web (on call)")
	if at := browser.Eval[string](t, b, `location.pathname`); at != "/a/b/" {
		t.Errorf("/ leads to %s", at)
	}
	if cluster := browser.Eval[string](t, b, `document.querySelector("nav a:last-child").href`); cluster != n.url+"/status" {
		t.Errorf("the page of the cluster is said to be at %s", cluster)
	}
	const matchers = `document.getElementById("silence-form").elements.matchers.value`
	for _, link := range []struct{ hash, text, matchers string }{
		{"#/alerts?receiver=we.*", "1 alert in 1 group", ""},
		{"#/alerts?silenced=false&inhibited=false&active=true&filter=%7Balertname%3D%22DiskFull%22%7D", "To ops: 1 alert", ""},
		{"#/", "2 alerts in 2 groups", ""},
		{"#/alerts?silenced=false&group=nowhere%2Cteam&customGrouping=true", "team=\"web\"", ""},
		{"#/alerts?group=nowhere", "2 alerts in 1 group", ""},
		{"#/alerts?group=nowhere&customGrouping=false", "2 alerts in 2 groups", ""},
		{"#/silences?filter=%7Balertname%3D%22Known%22%7D", "active: 1", ""},
		{"#/silences/" + id, "because", ""},
		{"#/silences/00000000-0000-0000-0000-000000000000", "404", ""},
		{"#/status", "Running since", ""},
		{"#/settings", "Running since", ""},
		{"#constructor", "nothing at this address", ""},
		{"#/silences/new?filter=%7Ba%3D%22b%22%2Cc%3D~%22d%7Ce%5C%5C.%22%7D", "New silence", "a=\"b\"\nc=~\"d|e\\\\.\""},
		{`#/silences/new?filter={alertname="Disk full", url=~"http://.*\.x/?.*",}`, "New silence", "alertname=\"Disk full\"\nurl=~\"http://.*\\\\.x/?.*\""},
		{"#/silences/new?filter=" + url.QueryEscape(`{a="b\u003c\"\n", "x.y"!="ü",z!~1}`) + "&comment=why", "New silence", "a=\"b<\\\"\\n\"\nx.y!=\"ü\"\nz!~\"1\""},
		{"#/silences/new?filter={a", "this is no matcher: {a", "{a"},
	} {
		n.open(t, b, link.hash, link.text)
		if link.matchers != "" {
			if got := browser.Eval[string](t, b, matchers); got != link.matchers {
				t.Errorf("%s: the matchers are %q, want %q", link.hash, got, link.matchers)
			}
		}
	}
}

// TestByKeyboard creates, edits and expires a silence without a mouse.
func TestByKeyboard(t *testing.T) {
	b := browser.New(t)
	b.Expect("400 (Bad Request)")
	n := start(t, "", twoTeams)
	n.fire(t, named("DiskFull"), named("Slow"))
	n.open(t, b, "", "2 alerts")
	goTo := func(selector string) {
		t.Helper()
		const presses = 80
		for range presses {
			b.Do(t, chromedp.KeyEvent(kb.Tab))
			if browser.Eval[bool](t, b, fmt.Sprintf(`document.activeElement.matches(%q)`, selector)) {
				return
			}
		}
		t.Fatalf("%s is not reached by the key Tab", selector)
	}
	press := func(selector string) {
		t.Helper()
		goTo(selector)
		b.Do(t, chromedp.KeyEvent(kb.Enter))
	}
	enter := func(name, text string) {
		t.Helper()
		goTo(fmt.Sprintf("[name=%s]", name))
		b.Do(t, chromedp.KeyEvent(text))
	}
	press("#skip")
	b.Until(t, `document.activeElement.id === "main"`)
	b.Do(t, chromedp.Navigate(n.url+"/#/alerts"))
	press(`nav a[href="#/silences/new"]`)
	b.Until(t, `document.activeElement.id === "form-h"`)
	enter("matchers", `alertname=~"("`)
	enter("duration", "3h")
	enter("creator", "me")
	enter("comment", "known")
	press("[name=save]")
	b.Shows(t, "missing closing )")
	browser.Eval[bool](t, b, `document.getElementById("form-h").focus() ?? true`)
	goTo("[name=matchers]")
	b.Do(t, chromedp.KeyEvent(strings.Repeat(kb.Backspace, len(`"("`))+`"Disk.*"`))
	press("#preview")
	b.Shows(t, "1 alert\n")
	browser.Eval[bool](t, b, `document.getElementById("form-h").focus() ?? true`)
	press("[name=save]")
	b.Shows(t, "known")
	b.Shows(t, "1 alert")
	made := n.silences(t)
	if len(made) != 1 || made[0].Status.State != "active" || made[0].CreatedBy != "me" || made[0].Comment != "known" ||
		made[0].Matchers[0] != (matcher{"alertname", "Disk.*", true, true}) {
		t.Fatalf("the silence is %+v", made)
	}
	if length := made[0].EndsAt.Sub(made[0].StartsAt).Round(time.Minute); length != 3*time.Hour {
		t.Errorf("the silence is %v long", length)
	}

	press("#edit")
	b.Until(t, `document.getElementById("silence-form").elements.comment.value === "known" && document.activeElement.id === "form-h"`)
	enter("duration", "1d")
	enter("comment", " since long")
	press("[name=save]")
	b.Until(t, `document.getElementById("about").innerText.includes("since long")`)
	edited := n.silences(t)
	if len(edited) != 1 || edited[0].ID != made[0].ID || !strings.Contains(edited[0].Comment, "since long") {
		t.Fatalf("the silence is now %+v", edited)
	}
	if !edited[0].StartsAt.Equal(made[0].StartsAt) || edited[0].EndsAt.Sub(edited[0].StartsAt).Round(time.Minute) != 24*time.Hour {
		t.Errorf("it is now from %v to %v", edited[0].StartsAt, edited[0].EndsAt)
	}

	press("#expire")
	b.Until(t, `document.getElementById("sure").open && document.activeElement.id === "no"`)
	press("#yes")
	b.Until(t, `document.getElementById("about").innerText.includes("expired") && document.getElementById("edit").textContent === "Recreate"`)
	if state := n.silences(t)[0].Status.State; state != "expired" {
		t.Errorf("the silence is %s", state)
	}
	b.Until(t, `document.activeElement.id === "edit"`)
	b.Do(t, chromedp.KeyEvent(kb.Enter))
	b.Until(t, `document.getElementById("silence-form").elements.matchers.value === 'alertname=~"Disk.*"' && document.getElementById("silence-form").elements.creator.value === "me"`)
}

// TestTimes: start, end and duration agree, in the zone of the reader.
func TestTimes(t *testing.T) {
	b := browser.New(t)
	n := start(t, "", twoTeams)
	b.Do(t, browser.Zone("America/St_Johns")) // half an hour off
	n.open(t, b, "#/silences/new?filter=a%3Db&comment=why", "America/St_Johns")
	change := func(name, value, want string) {
		t.Helper()
		now := browser.Eval[string](t, b, fmt.Sprintf(`(() => {
			const form = document.getElementById("silence-form").elements;
			form.creator.value = "me";
			form[%q].value = %q;
			form[%[1]q].dispatchEvent(new Event("input", { bubbles: true }));
			return [form.start.value, form.duration.value, form.end.value, form.start.form.checkValidity()].join(" ");
		})()`, name, value))
		if now != want {
			t.Errorf("after %s %s: %s, want %s", name, value, now, want)
		}
	}
	change("start", "2031-01-02T03:04", "2031-01-02T03:04 2h 2031-01-02T05:04 true")
	change("duration", "1d30m", "2031-01-02T03:04 1d30m 2031-01-03T03:34 true")
	change("end", "2031-01-02T03:05:30", "2031-01-02T03:04 1m30s 2031-01-02T03:05:30 true")
	change("duration", "soon", "2031-01-02T03:04 soon 2031-01-02T03:05:30 false")
	change("end", "2031-01-01T00:00", "2031-01-02T03:04  2031-01-01T00:00 false")
	change("duration", "1w", "2031-01-02T03:04 1w 2031-01-09T03:04 true")
	browser.Eval[bool](t, b, `document.getElementById("silence-form").requestSubmit() ?? true`)
	b.Shows(t, "pending")
	made := n.silences(t)[0]
	if starts := time.Date(2031, 1, 2, 6, 34, 0, 0, time.UTC); !made.StartsAt.Equal(starts) || !made.EndsAt.Equal(starts.Add(7*24*time.Hour)) {
		t.Errorf("it is from %v to %v", made.StartsAt, made.EndsAt)
	}
	b.Shows(t, "2031-01-02 03:04:00")
}

// TestRefresh: what comes and goes does not disturb a reader.
func TestRefresh(t *testing.T) {
	b := browser.New(t)
	n := start(t, "", twoTeams)
	n.fire(t, named("M", "n", "1"))
	n.open(t, b, "", "1 alert in 1 group")
	b.Do(t, chromedp.Focus(`#groups a[aria-label="Silence M"]`))
	again := func(text string) {
		t.Helper()
		browser.Eval[bool](t, b, `document.dispatchEvent(new Event("visibilitychange"))`)
		b.Shows(t, text)
	}
	n.fire(t, named("A"), named("Z"), named("M", "n", "0"), named("M", "n", "2"))
	again("5 alerts in 3 groups")
	if !browser.Eval[bool](t, b, `document.activeElement.matches('#groups a') && document.activeElement.closest("li").innerText.includes('n="1"')`) {
		t.Error("the focus is lost")
	}
	browser.Eval[bool](t, b, `(() => { const i = document.getElementById("alerts-form").elements.filter; i.focus(); i.value = "half a wo"; i.setSelectionRange(2, 4); return true })()`)
	n.silence(t, "A")
	again("4 alerts in 2 groups")
	if !browser.Eval[bool](t, b, `(() => { const i = document.activeElement; return i.value === "half a wo" && i.selectionStart === 2 && i.selectionEnd === 4 })()`) {
		t.Error("what was typed is lost")
	}
}

// TestNoAnswer: a node that does not answer for ever, as behind a network that is cut,
// is told as such, and asked again.
func TestNoAnswer(t *testing.T) {
	b := browser.New(t)
	n := start(t, "", twoTeams)
	n.fire(t, named("DiskFull"))
	b.Do(t, browser.Hurry(20))
	n.open(t, b, "", "1 alert")
	asked, release := n.hold(t, "GET /api/v2/alerts/groups")
	b.Shows(t, "the node does not answer")
	b.Until(t, `document.getElementById("live").textContent === "not live"`)
	asked()
	release()
	b.Until(t, `document.getElementById("live").textContent === "live" && document.getElementById("error").textContent === ""`)
}

// drawn waits until the node has answered, and the page has been drawn.
func drawn(t *testing.T, b *browser.Browser) {
	t.Helper()
	browser.Eval[bool](t, b, `(() => {
		window.drawn = false;
		fetch("api/v2/status").then((r) => r.text()).then(() => requestAnimationFrame(() => requestAnimationFrame(() => { window.drawn = true })));
		return true;
	})()`)
	b.Until(t, `window.drawn`)
}

// TestSlowAnswers: nothing that a reader types or sees is replaced by an answer that
// is late, and the focus stays where it was.
func TestSlowAnswers(t *testing.T) {
	b := browser.New(t)
	b.Expect("400 (Bad Request)")
	n := start(t, "", twoTeams)
	n.fire(t, named("DiskFull", "team", "web"), named("Slow"))
	const form = `document.getElementById("silence-form")`
	focused := func(t *testing.T, selector string) {
		t.Helper()
		if !browser.Eval[bool](t, b, fmt.Sprintf(`document.activeElement.matches(%q)`, selector)) {
			t.Errorf("the focus is not on %s but on %s", selector, browser.Eval[string](t, b, `document.activeElement.outerHTML.slice(0, 100)`))
		}
	}
	t.Run("of an older look", func(t *testing.T) {
		id := n.silence(t, "Known")
		n.open(t, b, "#/silences/"+id, "because")
		look := func() {
			t.Helper()
			browser.Eval[bool](t, b, `document.dispatchEvent(new Event("visibilitychange"))`)
		}
		asked, release := n.hold(t, "GET /api/v2/silence/")
		look()
		asked()
		n.call(t, http.MethodDelete, "silence/"+id, nil, nil)
		b.Do(t, chromedp.Focus("#expire"))
		look()
		b.Until(t, `document.getElementById("about").innerText.includes("expired")`)
		release()
		drawn(t, b)
		if !browser.Eval[bool](t, b, `document.getElementById("about").innerText.includes("expired") && document.getElementById("expire").hidden`) {
			t.Error("an older answer has replaced a newer one")
		}
		focused(t, "#edit")
	})
	t.Run("of what is edited", func(t *testing.T) {
		n.open(t, b, "#/silences/"+n.silence(t, "Slow"), "because")
		asked, release := n.hold(t, "GET /api/v2/silence/")
		browser.Eval[bool](t, b, `document.getElementById("edit").click() ?? true`)
		asked()
		browser.Eval[bool](t, b, form+`.elements.comment.focus() ?? true`)
		b.Do(t, chromedp.KeyEvent("typed"))
		if typed := browser.Eval[string](t, b, form+`.elements.comment.value`); typed != "" {
			t.Errorf("%q can be typed, and will be lost", typed)
		}
		release()
		b.Until(t, form+`.elements.comment.value === "because" && !`+form+`.inert`)
	})
	for button, request := range map[string]string{"[name=save]": "POST /api/v2/silences", "#preview": "GET /api/v2/alerts"} {
		t.Run("of what is refused by "+button, func(t *testing.T) {
			n.open(t, b, "#/silences/new?comment=why&filter="+url.QueryEscape(`a=~"("`), "New silence")
			browser.Eval[bool](t, b, `(`+form+`.elements.creator.value = "me") === "me"`)
			asked, release := n.hold(t, request)
			b.Do(t, chromedp.Focus(button), chromedp.KeyEvent(kb.Enter))
			asked()
			drawn(t, b)
			release()
			b.Shows(t, "missing closing )")
			drawn(t, b)
			focused(t, button)
		})
	}
	t.Run("of one filter of two", func(t *testing.T) {
		n.open(t, b, "#/alerts", "alert")
		browser.Eval[bool](t, b, `(() => {
			const { filter, group } = document.getElementById("alerts-form").elements;
			filter.value = 'alertname="DiskFull"';
			filter.dispatchEvent(new Event("change", { bubbles: true }));
			group.value = "te";
			return true;
		})()`)
		b.Shows(t, "1 alert in 1 group")
		drawn(t, b)
		if typed := browser.Eval[string](t, b, `document.getElementById("alerts-form").elements.group.value`); typed != "te" {
			t.Errorf("what was typed has become %q", typed)
		}
	})
}

// TestHostile shows alerts whose every text is an attack, and silences them.
func TestHostile(t *testing.T) {
	const attack = `'"></script></style></title><script>window.owned=1</script><img src=x onerror="window.owned=1">`
	b := browser.New(t)
	n := start(t, "", fmt.Sprintf("route: {receiver: %q, group_by: ['...']}\nreceivers: [{name: %[1]q}]\n", attack))
	labels := map[string]string{
		"alertname": attack, attack: "name", "a.b c": "dots", "quotes": `"say" 'it' \ now\`, "lines": "one\ntwo\r\nthree\rfour\ttab", "separators": "a\u2028b\u2029c\u0085d\ufeffe",
		"direction": "abc\u202edef\u200f\u2066שלום", "long": strings.Repeat("<i>長</i>", 10_000/10), "syntax": `{a="b", c!~"d"}`, "escapes": `\n\d\u0041\x41\U0001F600`,
		"emoji": "👩\u200d👧 \U000e0041", "__proto__": "p", "constructor": "c", "line\nname\u202e": "n", "control": "\x00\x01\x7f", "percent": "%00%zz+&#?",
	}
	n.fire(t, alert{Labels: labels, Annotations: map[string]string{attack: attack, "runbook": "javascript:window.owned=1"}, GeneratorURL: "javascript:window.owned=1"})
	b.Do(t, chromedp.EmulateViewport(320, 568))
	harmless := func(where string) {
		t.Helper()
		if browser.Eval[bool](t, b, `"owned" in window || document.images.length > 0 || document.scripts.length > 1 || [...document.links].some((a) => a.protocol === "javascript:")`) {
			t.Errorf("%s: a text became part of the page", where)
		}
		if wide := browser.Eval[float64](t, b, wider); wide > 0 {
			t.Errorf("%s: the page is %v pixels wider than the screen", where, wide)
		}
	}
	n.open(t, b, "", `<img src=x onerror=`)
	b.Shows(t, `abc\u202edef\u200f`)
	harmless("alerts")
	browser.Eval[bool](t, b, `document.querySelector("#groups a").click() ?? true`)
	b.Until(t, `!document.getElementById("form").hidden`)
	browser.Eval[bool](t, b, `(() => {
		const form = document.getElementById("silence-form");
		form.elements.creator.value = form.elements.comment.value = document.getElementById("groups").querySelector("bdi").textContent;
		form.requestSubmit(form.elements.save);
		return true;
	})()`)
	b.Until(t, `!document.getElementById("silence").hidden && document.querySelectorAll("#affected .alert").length === 1`)
	harmless("silence")
	check := func() silence {
		t.Helper()
		all := n.silences(t)
		if len(all) != 1 {
			t.Fatalf("there are %d silences", len(all))
		}
		got := map[string]string{}
		for _, m := range all[0].Matchers {
			if !m.IsEqual || m.IsRegex {
				t.Errorf("the matcher is %+v", m)
			}
			got[m.Name] = m.Value
		}
		if !maps.Equal(got, labels) {
			t.Errorf("the matchers are %q, want %q", got, labels)
		}
		if all[0].CreatedBy != attack || all[0].Comment != attack {
			t.Errorf("by %q: %q", all[0].CreatedBy, all[0].Comment)
		}
		return all[0]
	}
	made := check()
	browser.Eval[bool](t, b, `document.getElementById("edit").click() ?? true`)
	b.Until(t, `!document.getElementById("form").hidden && document.getElementById("silence-form").elements.comment.value !== ""`)
	harmless("form")
	browser.Eval[bool](t, b, `document.getElementById("silence-form").requestSubmit() ?? true`)
	b.Until(t, `!document.getElementById("silence").hidden && document.querySelectorAll("#affected .alert").length === 1`)
	if edited := check(); edited.ID != made.ID {
		t.Errorf("the silence %s has become %s", made.ID, edited.ID)
	}
	n.open(t, b, "#/silences", "active: 1")
	harmless("silences")
	n.open(t, b, "#/status", "group_by")
	harmless("status")
	b.Breach(t)
}
