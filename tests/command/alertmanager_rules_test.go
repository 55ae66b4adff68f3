package command_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
	local "github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// measured starts a Prometheus that scrapes the metric load from the test every
// second: a scrape that takes longer than its timeout ends the series.
func measured(t *testing.T) (url string, load *atomic.Int64) {
	t.Helper()
	path := local.Need(t, "prometheus")
	load = &atomic.Int64{}
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintf(w, "load %d\n", load.Load()) }))
	t.Cleanup(target.Close)
	conf := file(t, "prometheus.yml", fmt.Sprintf(
		"global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs: [{job_name: test, static_configs: [{targets: [%q]}]}]\n", target.Listener.Addr()))
	addr, data := net.JoinHostPort("127.0.0.1", strconv.Itoa(local.Port(t))), t.TempDir()
	local.Start(t, local.Spec{
		Path: path, Addr: addr, Data: data,
		Args:  []string{"--config.file=" + conf, "--storage.tsdb.path=" + data, "--web.listen-address=" + addr},
		Ready: func(context.Context, string) error { _, err := get("http://" + addr + "/-/ready"); return err },
	})
	return "http://" + addr, load
}

const ruleFile = `groups:
- name: first
  interval: 500ms
  rules: [{alert: First, expr: load > 1, for: 1s}]
- name: second
  interval: 500ms
  rules: [{alert: Second, expr: load > 2}]
`

// evaluators starts three instances that evaluate the rules, by gossip unless more
// names another backend.
func evaluators(t *testing.T, hook *sink, query string, more ...string) (all []*process, urls []string) {
	t.Helper()
	gossip := !slices.ContainsFunc(more, func(arg string) bool { return strings.HasPrefix(arg, "--cluster.backend=") })
	if gossip {
		more = append(slices.Clone(more), "--cluster.listen-address=127.0.0.1:0", "--cluster.label=rules-test")
	}
	args := append([]string{
		"--config.file=" + file(t, "am.yml", hook.config()), "--storage.path=", "--cluster.peer-timeout=2s",
		"--rules.file=" + file(t, "rules.yml", ruleFile), "--rules.query-url=" + query,
	}, more...)
	for _, name := range []string{"a", "b", "c"} {
		p, url := instance(t, append(slices.Clone(args), "--cluster.peer-name="+name)...)
		if gossip && len(urls) == 0 {
			args = append(args, "--cluster.peer="+gossipAddress(t, url))
		}
		p.eventually(t, func() error { _, err := get(url + "/-/ready"); return err })
		all, urls = append(all, p), append(urls, url)
	}
	for i, p := range all {
		p.eventually(t, func() error {
			if m := metrics(t, urls[i]); value(m, "alertmanager_cluster_members") != "3" || value(m, "alertmanager_peer_position") != strconv.Itoa(i) {
				return fmt.Errorf("instance %d does not see the others", i)
			}
			return nil
		})
	}
	return all, urls
}

func metrics(t *testing.T, url string) string {
	t.Helper()
	m, err := get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// evaluations is how often the instance evaluated a rule of any group.
func evaluations(t *testing.T, url string) (sum float64) {
	t.Helper()
	for _, m := range regexp.MustCompile(`\nprometheus_rule_evaluations_total\{.*\} (\S+)`).FindAllStringSubmatch(metrics(t, url), -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// delivered waits for the alert, and then for the turns of all to pass.
func delivered(t *testing.T, p *process, hook *sink, want ...string) {
	t.Helper()
	p.eventually(t, func() error {
		if have := hook.sent(); len(have) < len(want) {
			return fmt.Errorf("sent: %q, want %q", have, want)
		}
		return nil
	})
	timer := time.NewTimer(5 * time.Second) // two turns, and the group's wait
	defer timer.Stop()
	<-timer.C
	if have := hook.sent(); !slices.Equal(have, want) {
		t.Errorf("sent: %q, want %q", have, want)
	}
}

type history struct {
	Instance    string
	Transitions []struct {
		Time                     time.Time
		Instance, Rule, From, To string
	}
}

func historyOf(t *testing.T, url string) (h history) {
	t.Helper()
	page, err := get(url + "/api/v1/history")
	if err == nil {
		err = json.Unmarshal([]byte(page), &h)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h history) count(rule, to string) (n int) {
	for _, tr := range h.Transitions {
		if tr.Rule == rule && tr.To == to && tr.Instance == h.Instance {
			n++
		}
	}
	return n
}

func TestRulesOnEveryInstance(t *testing.T) {
	t.Parallel()
	query, load := measured(t)
	hook := newSink(t)
	nodes, urls := evaluators(t, hook, query)
	load.Store(2)
	delivered(t, nodes[0], hook, "First")
	for i, url := range urls {
		if n := historyOf(t, url).count("First", "firing"); n != 1 || evaluations(t, url) == 0 {
			t.Errorf("instance %d has %d transitions to firing, want 1", i, n)
		}
	}
	nodes[0].signal(t, syscall.SIGKILL) // who delivered
	_ = nodes[0].exitCode(t, patience)
	load.Store(3)
	delivered(t, nodes[1], hook, "First", "Second")
}

// TestRulesOnSomeInstances adds an instance, in front of the others, that
// evaluates nothing: it shows no alert, and each alert is still sent once.
func TestRulesOnSomeInstances(t *testing.T) {
	t.Parallel()
	query, load := measured(t)
	hook := newSink(t)
	nodes, urls := evaluators(t, hook, query)
	p, url := instance(t, "--config.file="+file(t, "am.yml", hook.config()), "--storage.path=", "--cluster.peer-timeout=2s",
		"--cluster.listen-address=127.0.0.1:0", "--cluster.label=rules-test", "--cluster.peer-name=0", "--cluster.peer="+peerAddress(t, urls[0]),
		"--rules.file="+file(t, "rules.yml", ruleFile), "--rules.query-url="+query, "--no-rules.execute")
	p.eventually(t, func() error {
		if m := metrics(t, url); value(m, "alertmanager_cluster_members") != "4" || value(m, "alertmanager_peer_position") != "0" {
			return fmt.Errorf("it is not in front of the others")
		}
		return nil
	})
	load.Store(2)
	delivered(t, nodes[0], hook, "First")
	if n := evaluations(t, url); n != 0 || len(historyOf(t, url).Transitions) != 0 {
		t.Errorf("it made %v evaluations", n)
	}
	if alerts, err := get(url + "/api/v2/alerts"); err != nil || strings.TrimSpace(alerts) != "[]" {
		t.Errorf("it shows %s, %v", alerts, err)
	}
}

func TestRulesOnOneInstance(t *testing.T) {
	t.Parallel()
	for backend, server := range map[string]func(t *testing.T) (param string){
		"memberlist": nil,
		"redis": func(t *testing.T) string {
			return "address=" + servers.Start(t, servers.Redis(), servers.Options{}).Addr()
		},
		"nats": func(t *testing.T) string {
			return "servers=" + servers.Start(t, servers.NATS(), servers.Options{}).Addr()
		},
		"etcd": func(t *testing.T) string {
			return "endpoints=" + servers.Start(t, servers.Etcd(), servers.Options{}).Addr()
		},
	} {
		t.Run(backend, func(t *testing.T) {
			args := []string{"--rules.single-evaluation"}
			if server != nil {
				if testing.Short() {
					t.Skip("in short mode one backend is used")
				}
				args = append(args, "--cluster.backend="+backend, "--cluster.name=rules-test", "--cluster.param="+server(t))
			}
			onOneInstance(t, args...)
		})
	}
}

// onOneInstance checks that one instance evaluates each group, that all have
// its alerts, and that another one takes over when it is killed.
func onOneInstance(t *testing.T, args ...string) {
	query, load := measured(t)
	hook := newSink(t)
	nodes, urls := evaluators(t, hook, query, args...)
	const evaluated = "clusterchannel_scheduler_groups_evaluated"
	nodes[0].eventually(t, func() error {
		sum := 0
		for _, url := range urls {
			n, err := strconv.Atoi(value(metrics(t, url), evaluated))
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
		if sum != 2 {
			return fmt.Errorf("2 groups are evaluated by %d instances", sum)
		}
		return nil
	})
	load.Store(2)
	delivered(t, nodes[0], hook, "First")
	firing, owner := 0, -1
	for i, url := range urls {
		n := historyOf(t, url).count("First", "firing")
		firing += n
		if n > 0 {
			owner = i
		}
		if alerts, err := get(url + "/api/v2/alerts"); err != nil || !strings.Contains(alerts, `"First"`) {
			t.Errorf("instance %d has not received the alert: %s, %v", i, alerts, err)
		}
	}
	if firing != 1 {
		t.Fatalf("%d instances saw the alert begin to fire, want 1", firing)
	}
	nodes[owner].signal(t, syscall.SIGKILL)
	_ = nodes[owner].exitCode(t, patience)
	load.Store(3)
	delivered(t, nodes[(owner+1)%3], hook, "First", "Second")
}

// entered is when the first of the instances saw the rule's alert enter the state.
func entered(t *testing.T, p *process, urls []string, rule, to string) (at time.Time, by int) {
	t.Helper()
	p.eventually(t, func() error {
		for i, url := range urls {
			for _, tr := range historyOf(t, url).Transitions {
				if tr.Rule == rule && tr.To == to {
					at, by = tr.Time, i
					return nil
				}
			}
		}
		return fmt.Errorf("no instance has %s %s", rule, to)
	})
	return at, by
}

func TestPendingTimeSurvivesAKill(t *testing.T) {
	t.Parallel()
	const hold = 8 * time.Second
	query, load := measured(t)
	hook := newSink(t)
	long := file(t, "long.yml", "groups:\n- name: long\n  interval: 500ms\n  rules: [{alert: Long, expr: load == 1, for: 8s}]\n")
	nodes, urls := evaluators(t, hook, query, "--rules.single-evaluation", "--rules.file="+long)
	settled := time.NewTimer(3 * time.Second) // each has been heard
	defer settled.Stop()
	<-settled.C
	load.Store(1)
	pending, owner := entered(t, nodes[0], urls, "Long", "pending")
	half := time.NewTimer(hold / 2)
	defer half.Stop()
	<-half.C
	nodes[owner].signal(t, syscall.SIGKILL)
	_ = nodes[owner].exitCode(t, patience)
	other := nodes[(owner+1)%3]
	fired, _ := entered(t, other, slices.Delete(slices.Clone(urls), owner, owner+1), "Long", "firing")
	if took := fired.Sub(pending); took < hold || took > hold+hold/3 {
		t.Errorf("it fired after %v, want %v", took, hold)
	}
	delivered(t, other, hook, "Long")
}

func TestRulesByGrafanasFile(t *testing.T) {
	t.Parallel()
	query, load := measured(t)
	load.Store(2)
	hook := newSink(t)
	args := []string{
		"--config.file=" + file(t, "am.yml", hook.config()), "--storage.path=",
		"--rules.file=" + file(t, "rules.yml", ruleFile), "--rules.query-url=" + query,
	}
	off := map[string]string{} // URLs by the line that turns evaluation off
	for _, line := range []string{"execute_alerts = false", "enabled = false"} {
		ini := file(t, "custom.ini", "[unified_alerting]\n"+line+"\nevaluation_timeout = 5s\n")
		_, off[line] = instance(t, append(slices.Clone(args), "--config.ini="+ini)...)
	}
	loud, _ := instance(t, append(slices.Clone(args), "--cluster.listen-address=")...)
	delivered(t, loud, hook, "First")
	for line, url := range off {
		if n := evaluations(t, url); n != 0 || len(historyOf(t, url).Transitions) != 0 {
			t.Errorf("with %s there were %v evaluations", line, n)
		}
	}
}

func TestRulesReload(t *testing.T) {
	t.Parallel()
	query, load := measured(t)
	load.Store(2)
	hook := newSink(t)
	rules := file(t, "rules.yml", "groups: []\n")
	p := run(t, "alertmanager", "--web.listen-address=127.0.0.1:0", "--web.external-url=http://127.0.0.1/am", "--config.file="+file(t, "am.yml", hook.config()),
		"--storage.path=", "--cluster.listen-address=", "--rules.file="+rules, "--rules.query-url="+query)
	var url string
	p.eventually(t, func() error {
		found := listening.FindStringSubmatch(p.stderr.String())
		if found == nil {
			return fmt.Errorf("it does not listen yet")
		}
		url = "http://" + found[1] + "/am"
		return nil
	})
	writeFile(t, rules, "groups:\n- name: x\n  rules: [")
	resp, err := client.Post(url+"/-/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(resp.Body) // what came of it is compared
	_ = resp.Body.Close()
	if text := string(answer); resp.StatusCode != http.StatusInternalServerError || !strings.Contains(text, rules) || !strings.Contains(text, "line 3") {
		t.Errorf("the answer does not name file and line: %s: %s", resp.Status, text)
	}
	writeFile(t, rules, ruleFile)
	p.signal(t, syscall.SIGHUP)
	delivered(t, p, hook, "First")
	if n := historyOf(t, url).count("First", "firing"); n != 1 {
		t.Errorf("%d transitions to firing, want 1", n)
	}
}

func TestRulesThatAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad, good := filepath.Join(dir, "bad.yml"), filepath.Join(dir, "good.yml")
	writeFile(t, bad, "groups:\n- name: x\n  rules:\n  - {alert: A, expr: 'up >'}\n")
	writeFile(t, good, ruleFile)
	conf := "--config.file=" + file(t, "am.yml", config("nobody"))
	for _, c := range []struct {
		want string
		code int
		args []string
	}{
		{bad + ": 4:", 1, []string{"--rules.file=" + bad, "--rules.query-url=http://127.0.0.1:1"}},
		{"--rules.query-url", 2, []string{"--rules.file=" + good}},
		{"begins with http", 1, []string{"--rules.file=" + good, "--rules.query-url=localhost:9090"}},
		{"none.yml", 1, []string{"--rules.file=" + good, "--rules.query-url=http://127.0.0.1:1", "--rules.http-config=" + filepath.Join(dir, "none.yml")}},
	} {
		p := run(t, append([]string{"alertmanager", conf, "--storage.path=", "--cluster.listen-address=", "--web.listen-address=127.0.0.1:0"}, c.args...)...)
		if code := p.exitCode(t, patience); code != c.code || !strings.Contains(p.stderr.String(), c.want) {
			t.Errorf("%q: exit code %d, want %d: %s; want %q", c.args, code, c.code, p.stderr.String(), c.want)
		}
	}
}
