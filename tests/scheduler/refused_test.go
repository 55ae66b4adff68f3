package scheduler_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/scheduler"
)

func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, want string }{
		"yaml":       {"groups:\n- name: x\n  rules: [", "line 3"},
		"unknown":    {"groups:\n- name: x\n  rulez: []\n", "line 3"},
		"expression": {"groups:\n- name: x\n  rules:\n  - {alert: A, expr: 'sum('}\n", ": 4:"},
		"template":   {"groups:\n- name: x\n  rules:\n  - {alert: A, expr: up, annotations: {s: '{{ .Nope'}}\n", "annotation \"s\""},
		"twice":      {"groups:\n- name: x\n- name: x\n", ": 3:"},
		"duration":   {"groups:\n- name: x\n  interval: soon\n", "soon"},
		"recording":  {"groups:\n- name: x\n  rules:\n  - {record: r, expr: 'sum('}\n", ": 4:"},
		"feature":    {"groups:\n- name: x\n  rules:\n  - {alert: A, expr: 'limitk(1, up)'}\n", "limitk"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t, "r.yml", c.content)
			_, err := scheduler.New(scheduler.Options{RuleFiles: []string{path}, QueryURL: "http://127.0.0.1:1", Send: (&node{}).receive, Logger: quiet()})
			if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error: %v; want the path and %q", err, c.want)
			}
			if check := scheduler.CheckFiles([]string{path}, ""); check == nil || check.Error() != err.Error() {
				t.Errorf("the check says: %v", check)
			}
		})
	}
}

func TestOptionsThatAreRefused(t *testing.T) {
	t.Parallel()
	rules := []string{file(t, "r.yml", rule("A", "up", ""))}
	const later = `{"version":2,"groups":[]}`
	foreign := fmt.Sprintf("clusterchannel rules 1 %x\n%s", sha256.Sum256([]byte(later)), later)
	send := (&node{}).receive
	taken := prometheus.NewRegistry()
	start(t, nil, "x", scheduler.Options{}).Close()
	first, err := scheduler.New(scheduler.Options{Send: send, Registerer: taken})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(first.Close)
	for want, o := range map[string]scheduler.Options{
		"no receiver":                  {},
		"query url: none is given":     {Send: send, RuleFiles: rules},
		"begins with http":             {Send: send, RuleFiles: rules, QueryURL: "localhost:9090"},
		"invalid port":                 {Send: send, RuleFiles: rules, QueryURL: "http://u:hidden@h:p"},
		"features: \"remote-write\"":   {Send: send, Features: "promql-experimental-functions,remote-write"},
		"state file: ":                 {Send: send, StateFile: file(t, "rules", "nflog")},
		"version 2 is not 1":           {Send: send, StateFile: file(t, "rules", foreign)},
		"min interval: -1s is":         {Send: send, MinInterval: -time.Second},
		"interval: -1s is negative":    {Send: send, Interval: -time.Second},
		"evaluation timeout: -1s is":   {Send: send, EvaluationTimeout: -time.Second},
		"resend delay: -1s is":         {Send: send, ResendDelay: -time.Second},
		"history size: -1 is negative": {Send: send, HistorySize: -1},
		"missing.yml":                  {Send: send, RuleFiles: []string{"missing.yml"}, QueryURL: "http://h"},
		"syntax error in pattern":      {Send: send, RuleFiles: []string{"[.yml"}, QueryURL: "http://h"},
		"metrics":                      {Send: send, Registerer: taken},
	} {
		o.Logger = quiet()
		_, err := scheduler.New(o)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("error: %v, want %q", err, want)
		}
		if want != "metrics" && !errors.Is(err, backend.ErrConfig) {
			t.Errorf("%v is not ErrConfig", err)
		}
	}
}

func TestHTTPConfig(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	url := stub(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		select {
		case seen <- user + ":" + password:
		default:
		}
		vectorOf(w, "host", "x")
	})
	client, err := scheduler.NewHTTPClient(file(t, "http.yml", "basic_auth: {username: ann, password: secret}\n"))
	if err != nil {
		t.Fatal(err)
	}
	start(t, nil, "a", scheduler.Options{RuleFiles: []string{file(t, "r.yml", rule("A", "up", ""))}, QueryURL: url, HTTPClient: client})
	select {
	case got := <-seen:
		if got != "ann:secret" {
			t.Errorf("credentials: %q", got)
		}
	case <-time.After(patience):
		t.Fatal("nothing was asked")
	}
	for content, want := range map[string]string{
		"basic_auth: {user: ann}\n":                    "line 1",
		"tls_config: {ca_file: /does/not/exist}\n":     "/does/not/exist",
		"bearer_token: a\nbearer_token_file: /b/c/d\n": "at most one",
	} {
		path := file(t, "http.yml", content)
		if _, err := scheduler.NewHTTPClient(path); !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", content, err, want)
		}
	}
}
