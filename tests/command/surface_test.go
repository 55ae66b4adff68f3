package command_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	local "github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// answered is what a node says to a request, as far as programs see it.
func answered(t *testing.T, method, url string) (said string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	once := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := once.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is read
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	// Which methods are allowed instead is said in any order.
	said = fmt.Sprint(response.StatusCode, " ", response.Header.Get("Location"))
	if response.StatusCode >= 400 && response.StatusCode != http.StatusMethodNotAllowed || strings.Contains(url, "/-/") {
		said += " " + strings.TrimSpace(string(body))
	}
	return said
}

// Requests get the answers that Alertmanager gives, below a prefix too, except to
// those that docs/migrating.md names.
func TestAnswersOfAlertmanager(t *testing.T) {
	t.Parallel()
	args := []string{"--config.file=" + file(t, "am.yml", config("nobody")), "--web.listen-address=127.0.0.1:0", "--web.external-url=http://a.example/p/q", "--cluster.listen-address="}
	original := runProgram(t, local.Need(t, "alertmanager"), append(args, "--storage.path="+t.TempDir())...)
	theirs, ours := original.serving(t), run(t, append(args, "--storage.path=")...).serving(t)
	for _, path := range []string{
		"/", "/p/q", "/nothing", "/-/healthy", "/metrics", "/p/q/nothing", "/p/q/script.js", "/p/q/lib/x", "/p/q/-/healthy", "/p/q/-/ready", "/p/q/-/reload", "/p/q/metrics",
		"/p/q/api/v1/alerts", "/p/q/api/v1/status", "/p/q/api/v2/", "/p/q/api/v2/status", "/p/q/api/v2/receivers", "/p/q/api/v2/alerts", "/p/q/api/v2/alerts/groups", "/p/q/api/v2/silences",
		"/p/q/api/v2/silence/x", "/p/q/api/v2/silence/00000000-0000-0000-0000-000000000000", "/p/q/api/v2/alerts?filter=a", `/p/q/api/v2/alerts?filter=a%3D"b"`, "/p/q/api/v2/alerts?active=x",
		"/p/q/api/v2/alerts?receiver=(", "/p/q/api/v2/silences?filter=%7B", "/p/q/debug/pprof/", "/p/q/debug/pprof/heap", "/p/q/debug/pprof/cmdline", "/p/q/debug/pprof/nothing",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
			page := path == "/p/q" && method == http.MethodHead                               // the page at / is another one
			more := method == http.MethodPost && strings.HasPrefix(path, "/p/q/debug/pprof/") // by POST too
			if a, b := answered(t, method, theirs+path), answered(t, method, ours+path); a != b && !page && !more {
				t.Errorf("%s %s: Alertmanager answers %q, and we %q", method, path, a, b)
			}
		}
	}
	if got := answered(t, http.MethodGet, ours+"/p/q/debug/vars"); !strings.HasPrefix(got, "404") || !strings.Contains(document(t, "migrating.md"), "`/debug/vars`") {
		t.Errorf("/debug/vars: %s, and docs/migrating.md says otherwise", got)
	}
}

// serving returns where a process listens, once it does.
func (p *process) serving(t *testing.T) (url string) {
	t.Helper()
	p.eventually(t, func() error {
		found := regexp.MustCompile(`msg="Listening on" .*address=(\S+)`).FindStringSubmatch(p.stderr.String())
		if found == nil {
			return fmt.Errorf("it does not listen")
		}
		url = "http://" + found[1]
		return nil
	})
	return url
}

// A metric of Alertmanager is there with its type and its labels, unless
// docs/migrating.md names it.
func TestMetricsOfAlertmanager(t *testing.T) {
	t.Parallel()
	families := func(p *process) (types map[string]string, labels map[string][]string) {
		t.Helper()
		url := p.serving(t)
		post(t, url+"/api/v2/alerts", `[{"labels":{"alertname":"DiskFull"}}]`)
		text, err := get(url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		reader := expfmt.NewTextParser(model.UTF8Validation)
		all, err := reader.TextToMetricFamilies(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		types, labels = map[string]string{}, map[string][]string{}
		for name, family := range all {
			types[name] = family.GetType().String()
			for _, m := range family.GetMetric() {
				for _, pair := range m.GetLabel() {
					if !slices.Contains(labels[name], pair.GetName()) {
						labels[name] = append(labels[name], pair.GetName())
					}
				}
			}
		}
		return types, labels
	}
	args := []string{"--config.file=" + file(t, "am.yml", config("nobody")), "--web.listen-address=127.0.0.1:0", "--cluster.listen-address=127.0.0.1:0"}
	theirs, theirLabels := families(runProgram(t, local.Need(t, "alertmanager"), append(args, "--storage.path="+t.TempDir())...))
	ours, ourLabels := families(run(t, append(args, "--storage.path=")...))
	absent := regexp.MustCompile("(?m)^" + `\| metrics \|.*$`).FindString(document(t, "migrating.md"))
	named := func(name string) bool {
		if strings.Contains(name, "_gossip_message") {
			return strings.Contains(absent, "oversized gossip")
		}
		for _, m := range regexp.MustCompile("`([a-z_]+)(\\*?)`").FindAllStringSubmatch(absent, -1) {
			if strings.HasSuffix(name, m[1]) || m[2] == "*" && strings.HasPrefix(name, m[1]) {
				return true
			}
		}
		return false
	}
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		switch {
		case ours[name] == "" && !named(name):
			t.Errorf("%s is missing", name)
		case ours[name] != "" && ours[name] != theirs[name]:
			t.Errorf("%s is a %s, and of Alertmanager a %s", name, ours[name], theirs[name])
		case ours[name] != "":
			for _, label := range theirLabels[name] {
				if !slices.Contains(ourLabels[name], label) {
					t.Errorf("%s has not the label %s", name, label)
				}
			}
		}
	}
}
