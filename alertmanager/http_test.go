package alertmanager_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
)

// All that Alertmanager serves is there, with and without a route prefix.
func TestPaths(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"", "/am", "/a/b/"} {
		t.Run(prefix, func(t *testing.T) {
			t.Parallel()
			n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: configFile(t, config("http://127.0.0.1:1/")), RoutePrefix: prefix})
			below := strings.TrimSuffix(prefix, "/")
			if below != "" {
				if location := n.redirect(t, "/"); location != below {
					t.Errorf("/ redirects to %q", location)
				}
			}
			for _, path := range []string{"/api/v1/alerts", "/api/v1/silences", "/api/v1/status", "/api/v1/silence/x"} {
				if code, body := n.call(t, http.MethodGet, below+path, nil); code != http.StatusGone || !strings.Contains(body, "v2 API") {
					t.Errorf("%s: %d %s", path, code, body)
				}
			}
			for path, want := range map[string]string{
				"/debug/pprof/": "goroutine", "/debug/pprof/goroutine?debug=1": "goroutine profile", "/debug/pprof/cmdline": "test",
				"/debug/pprof/symbol": "num_symbols", "/-/healthy": "OK", "/-/ready": "OK", "/api/v2/receivers": "sink",
				"/": "<title>Alertmanager</title>", "/favicon.ico": "<svg ",
				"/metrics": `alertmanager_http_response_size_bytes_bucket{handler="/-/healthy"`,
			} {
				n.get(t, below+"/-/healthy")
				if body := n.get(t, below+path); !strings.Contains(body, want) {
					t.Errorf("%s lacks %q: %s", path, want, body)
				}
			}
		})
	}
}

// The page runs its own script and style, and nothing else.
func TestPolicyOfPage(t *testing.T) {
	t.Parallel()
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: configFile(t, config("http://127.0.0.1:1/")), RoutePrefix: "/am"})
	resp, err := http.Get(n.url + "/#/alerts") // which redirects
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	html, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if at := resp.Request.URL.Path; at != "/am/" || resp.StatusCode != http.StatusOK {
		t.Errorf("the page is at %s: %s", at, resp.Status)
	}
	policy := resp.Header.Get("Content-Security-Policy")
	for _, element := range []string{"script", "style"} {
		_, after, _ := strings.Cut(string(html), "<"+element+">")
		own, rest, found := strings.Cut(after, "</"+element+">")
		if !found || strings.Contains(rest, "<"+element) {
			t.Fatalf("the page has more or less than one %s", element)
		}
		sum := sha256.Sum256([]byte(own))
		if want := element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
	for _, want := range []string{"default-src 'none'", "connect-src 'self'", "img-src 'self'", "form-action 'none'", "frame-ancestors 'none'", "base-uri 'none'", "trusted-types 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy lacks %s: %s", want, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") || strings.Contains(policy, "*") {
		t.Errorf("the policy is not strict: %s", policy)
	}
}

// redirect is where a GET of path is redirected to.
func (n *node) redirect(t *testing.T, path string) string {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // its head says all
	return resp.Header.Get("Location")
}

func TestOrigins(t *testing.T) {
	t.Parallel()
	file := configFile(t, config("http://127.0.0.1:1/"))
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: file, CORSOrigin: `https://(a|b)\.example`})
	for origin, allowed := range map[string]bool{"https://a.example": true, "https://c.example": false} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+"/api/v2/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // its head says all
		if got := resp.Header.Get("Access-Control-Allow-Origin"); (got == origin) != allowed {
			t.Errorf("%s is answered %q", origin, got)
		}
	}
	refused(t, alertmanager.Options{ConfigFile: file, CORSOrigin: "("}, "cors origin")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{
		ConfigFile: configFile(t, config(s.url)), MaxSilences: 1, MaxSilenceSize: 500, AlertNameLimit: 2, RequestTimeout: time.Minute,
	})
	silence := func(comment string) int {
		t.Helper()
		now := time.Now()
		code, _ := n.call(t, http.MethodPost, "/api/v2/silences", map[string]any{
			"matchers": []map[string]any{{"name": "a", "value": "b", "isRegex": false, "isEqual": true}},
			"startsAt": now, "endsAt": now.Add(time.Hour), "createdBy": "test", "comment": comment,
		})
		return code
	}
	if code := silence(strings.Repeat("x", 600)); code != http.StatusBadRequest {
		t.Errorf("a silence that is too large is answered %d", code)
	}
	if code := silence("one"); code != http.StatusOK {
		t.Errorf("the first silence is answered %d", code)
	}
	if code := silence("two"); code != http.StatusBadRequest {
		t.Errorf("the second silence is answered %d", code)
	}
	var alerts []map[string]any
	for i := range 5 {
		alerts = append(alerts, map[string]any{"labels": map[string]string{"alertname": "Many", "n": fmt.Sprint(i)}})
	}
	n.post(t, "/api/v2/alerts", alerts)
	if metrics := n.get(t, "/metrics"); !strings.Contains(metrics, "\nalertmanager_alerts_limited_total 3\n") {
		t.Errorf("the limit of a name does not count three:\n%s", metrics)
	}
}

// An instance with a start delay sends nothing before it is over.
func TestStartDelay(t *testing.T) {
	t.Parallel()
	s := newSink(t)
	began := time.Now()
	n := start(t, "a", nil, backend.Timing{}, alertmanager.Options{ConfigFile: configFile(t, config(s.url)), DispatchStartDelay: 2 * time.Second})
	fire(t, []*node{n}, "DiskFull")
	s.waitFor(t, "DiskFull")
	if after := time.Since(began); after < 2*time.Second {
		t.Errorf("it was sent after %v", after)
	}
}
