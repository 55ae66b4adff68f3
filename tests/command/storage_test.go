package command_test

import (
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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

// sink is a webhook that notes which alerts it was sent, and by whom.
type sink struct {
	*httptest.Server
	delay  time.Duration // how long it takes to answer; set before it is used
	mu     sync.Mutex
	alerts []string
	log    []string
}

func newSink(t *testing.T) *sink { return newSinkAt(t, "127.0.0.1") }

// newSinkAt listens on a free port of an address of this machine.
func newSinkAt(t *testing.T, address string) *sink {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var m struct {
			ExternalURL string
			Alerts      []sent
		}
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.note(m.ExternalURL, m.Alerts)
		<-time.After(s.delay)
	}))
	s.Listener = listener
	s.Start()
	t.Cleanup(s.Close)
	return s
}

type sent struct{ Labels map[string]string }

func (s *sink) note(by string, alerts []sent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range alerts {
		name := a.Labels["alertname"]
		s.alerts = append(s.alerts, name)
		s.log = append(s.log, fmt.Sprintf("%s %s %s", name, time.Now().UTC().Format("15:04:05.000"), by))
	}
}

// story lists when and by whom an alert was sent.
func (s *sink) story(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(slices.DeleteFunc(slices.Clone(s.log), func(l string) bool { return !strings.HasPrefix(l, name+" ") }), "; ")
}

func (s *sink) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.alerts)
}

func (s *sink) config() string {
	return fmt.Sprintf("route: {receiver: hook, group_by: [alertname], group_wait: 100ms, group_interval: 1s, repeat_interval: 1h}\n"+
		"receivers: [{name: hook, webhook_configs: [{url: %q, send_resolved: false}]}]\n", s.URL)
}

func post(t *testing.T, url, body string) string {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	reply, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s: %s, %v", url, resp.Status, reply, err)
	}
	return string(reply)
}

var lastSave = regexp.MustCompile(`\nclusterchannel_persist_last_success_timestamp_seconds\{.*\} (.*)`)

// databases say where the nodes keep their states: what they return is asked once
// for each node, each time it starts.
var databases = map[string]func(t *testing.T) func(node string) string{
	"one file": func(t *testing.T) func(string) string {
		path := filepath.Join(t.TempDir(), "state.db")
		return func(string) string { return "sqlite:" + path }
	},
	"a file each": func(t *testing.T) func(string) string {
		dir := t.TempDir()
		return func(node string) string { return "sqlite:" + filepath.Join(dir, node+".db") }
	},
	"one PostgreSQL": func(t *testing.T) func(string) string {
		server := servers.Start(t, servers.Postgres(), servers.Options{})
		return func(string) string {
			return fmt.Sprintf("postgres://postgres:%s@%s/postgres?sslmode=disable", servers.PostgresPassword, server.Addr())
		}
	},
}

func TestAllStopAndStart(t *testing.T) {
	t.Parallel()
	for name, start := range databases {
		for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(name+" "+end.String(), func(t *testing.T) {
				t.Parallel()
				allStopAndStart(t, start(t), end)
			})
		}
	}
}

// storing are nodes whose only storage is a database.
type storing struct {
	args  []string
	dsn   func(node string) string
	nodes []*process
	urls  []string
}

func newStoring(t *testing.T, hook *sink, interval time.Duration, dsn func(string) string) *storing {
	return &storing{dsn: dsn, args: []string{
		"--config.file=" + file(t, "am.yml", hook.config()), "--storage.path=", "--cluster.peer-timeout=1s",
		"--storage.database-interval=" + interval.String(), "--cluster.listen-address=127.0.0.1:0", "--cluster.label=storage-test",
	}}
}

// start adds a node, by the address of one that is there.
func (s *storing) start(t *testing.T, name string) {
	t.Helper()
	args := append(slices.Clone(s.args), "--cluster.peer-name="+name, "--storage.database="+s.dsn(name))
	if len(s.urls) > 0 {
		args = append(args, "--cluster.peer="+peerAddress(t, s.urls[0]))
	}
	p, url := instance(t, args...)
	s.nodes, s.urls = append(s.nodes, p), append(s.urls, url)
}

// end ends all nodes.
func (s *storing) end(t *testing.T, by syscall.Signal) {
	t.Helper()
	for _, p := range s.nodes {
		p.signal(t, by)
	}
	for _, p := range s.nodes {
		_ = p.exitCode(t, patience)
	}
	s.nodes, s.urls = nil, nil
}

func (s *storing) alert(t *testing.T, name string) {
	t.Helper()
	for _, url := range s.urls {
		alert(t, url, name)
	}
}

func (s *storing) expectSilence(t *testing.T, comment string) {
	t.Helper()
	for _, url := range s.urls {
		if silences, err := get(url + "/api/v2/silences"); err != nil || !strings.Contains(silences, fmt.Sprintf("%q", comment)) {
			t.Errorf("the silence is lost: %s, %v", silences, err)
		}
	}
}

// expectSent waits until the sink was sent these alerts, and no others.
func (s *storing) expectSent(t *testing.T, hook *sink, want ...string) {
	t.Helper()
	s.nodes[0].eventually(t, func() error {
		if have := hook.sent(); !slices.Equal(have, want) {
			return fmt.Errorf("sent: %q, want %q", have, want)
		}
		return nil
	})
}

// expectSaved waits until all states were saved from now on.
func (s *storing) expectSaved(t *testing.T) {
	t.Helper()
	since := float64(time.Now().UnixMilli()) / 1000
	for i, p := range s.nodes {
		p.eventually(t, func() error {
			metrics, err := get(s.urls[i] + "/metrics")
			if err != nil {
				return err
			}
			for _, m := range lastSave.FindAllStringSubmatch(metrics, -1) {
				if at, err := strconv.ParseFloat(m[1], 64); err != nil || at < since {
					return fmt.Errorf("not saved since the alert was sent: %s", m[0])
				}
			}
			return nil
		})
	}
}

// allStopAndStart leaves saving to the stop if that is graceful.
func allStopAndStart(t *testing.T, dsn func(string) string, end syscall.Signal) {
	hook := newSink(t)
	graceful, interval := end == syscall.SIGTERM, 100*time.Millisecond
	if graceful {
		interval = time.Hour
	}
	s := newStoring(t, hook, interval, dsn)
	s.start(t, "a")
	s.start(t, "b")
	silence(t, s.urls[1], "quiet", "kept")
	s.alert(t, "first")
	s.expectSent(t, hook, "first")
	if !graceful {
		s.expectSaved(t)
	}
	s.end(t, end)
	s.start(t, "a")
	s.start(t, "b")
	s.expectSilence(t, "kept")
	s.alert(t, "first")
	s.alert(t, "quiet")
	s.alert(t, "second") // when it is sent, the turn of the others is over
	s.expectSent(t, hook, "first", "second")
}

// TestKilledNodeComesBack kills a node before it has saved anything: it gets
// its state back from the survivors.
func TestKilledNodeComesBack(t *testing.T) {
	t.Parallel()
	hook := newSink(t)
	s := newStoring(t, hook, time.Hour, databases["a file each"](t))
	for _, name := range []string{"a", "b", "c"} {
		s.start(t, name)
	}
	for i, p := range s.nodes {
		p.eventually(t, func() error {
			status, err := get(s.urls[i] + "/api/v2/status")
			if err == nil && strings.Count(status, `"address"`) != 3 {
				err = fmt.Errorf("not all are members: %s", status)
			}
			return err
		})
	}
	const killed = 2
	silence(t, s.urls[killed], "quiet", "of the killed")
	s.alert(t, "first")
	s.expectSent(t, hook, "first")
	for i, p := range s.nodes {
		p.eventually(t, func() error {
			silences, err := get(s.urls[i] + "/api/v2/silences")
			if err == nil && !strings.Contains(silences, `"of the killed"`) {
				err = fmt.Errorf("the silence has not come: %s", silences)
			}
			return err
		})
	}
	s.nodes[killed].signal(t, syscall.SIGKILL)
	_ = s.nodes[killed].exitCode(t, patience)
	s.nodes, s.urls = s.nodes[:killed], s.urls[:killed]
	silence(t, s.urls[0], "quiet-too", "while it was away")

	s.start(t, "c")
	s.nodes[killed].eventually(t, func() error {
		silences, err := get(s.urls[killed] + "/api/v2/silences")
		if err == nil && (!strings.Contains(silences, `"of the killed"`) || !strings.Contains(silences, `"while it was away"`)) {
			err = fmt.Errorf("it has not caught up: %s", silences)
		}
		return err
	})
	for _, name := range []string{"first", "quiet", "quiet-too", "second"} {
		alert(t, s.urls[killed], name) // it alone has them: what it sends is by what it knows
	}
	s.expectSent(t, hook, "first", "second")
}

// TestStartsOnUnusableDatabase checks that alerts flow, and that a node gets
// another one's state, while nothing can be saved.
func TestStartsOnUnusableDatabase(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a.db"), strings.Repeat("this is no database\n", 500))
	hook := newSink(t)
	for node, dsn := range map[string]string{
		"garbage":   "sqlite:" + filepath.Join(dir, "a.db"),
		"away":      "postgres://u:s3cret@127.0.0.1:1/d?sslmode=disable",
		"misplaced": "sqlite:" + filepath.Join(dir, "absent", "a.db"),
	} {
		s := newStoring(t, hook, time.Hour, func(name string) string {
			if name == "sound" {
				return "sqlite:" + filepath.Join(t.TempDir(), "sound.db")
			}
			return dsn
		})
		s.start(t, "sound")
		silence(t, s.urls[0], "quiet", "of the peer")
		s.start(t, node)
		p, url := s.nodes[1], s.urls[1]
		p.eventually(t, func() error {
			silences, err := get(url + "/api/v2/silences")
			if err == nil && !strings.Contains(silences, `"of the peer"`) {
				err = fmt.Errorf("what the peer knows is not taken: %s", silences)
			}
			return err
		})
		alert(t, url, "quiet")
		alert(t, url, node)
		p.eventually(t, func() error {
			if sent := hook.sent(); !slices.Contains(sent, node) || slices.Contains(sent, "quiet") {
				return fmt.Errorf("sent: %q, want %s, and nothing that is silenced", sent, node)
			}
			return nil
		})
		said := p.stderr.String()
		if path, is := strings.CutPrefix(dsn, "sqlite:"); is && !strings.Contains(said, path) {
			t.Errorf("%s: the log does not name the file: %s", node, said)
		}
		if !strings.Contains(said, "a state could not be saved; still trying") || strings.Contains(said, "s3cret") {
			t.Errorf("%s: the log says %s", node, said)
		}
		s.end(t, syscall.SIGTERM)
	}
}

func TestDatabasesThatAreRefused(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`--storage.database: persist: bad configuration: dsn: the scheme "oracle" is unknown; known are sqlite, postgres and mysql`: {"--storage.database=oracle://u:s3cret@h/d"},
		"interval: -1s": {"--storage.database=sqlite:state.db", "--storage.database-interval=-1s"},
	} {
		p := run(t, append([]string{
			"alertmanager", "--config.file=" + file(t, "am.yml", config("nobody")), "--storage.path=", "--cluster.listen-address=", "--web.listen-address=127.0.0.1:0",
		}, args...)...)
		if code := p.exitCode(t, patience); code != 1 || !strings.Contains(p.stderr.String(), want) || strings.Contains(p.stderr.String(), "s3cret") {
			t.Errorf("%q: exit code %d: %s; want %q", args, code, p.stderr.String(), want)
		}
	}
}

// peerAddress is where a node of any number of peers gossips.
func peerAddress(t *testing.T, url string) string {
	t.Helper()
	body, err := get(url + "/api/v2/status")
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		Cluster struct {
			Name  string
			Peers []struct{ Name, Address string }
		}
	}
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatal(err)
	}
	for _, p := range status.Cluster.Peers {
		if p.Name == status.Cluster.Name {
			return p.Address
		}
	}
	t.Fatalf("it does not list itself: %s", body)
	return ""
}
