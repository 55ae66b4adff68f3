package command_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// instance runs the command alertmanager on loopback and returns its URL.
func instance(t *testing.T, args ...string) (*process, string) {
	t.Helper()
	p := run(t, append([]string{
		"alertmanager", "--web.listen-address=127.0.0.1:0", "--web.external-url=http://127.0.0.1",
	}, args...)...)
	return p, p.url(t)
}

func TestWithoutCluster(t *testing.T) {
	t.Parallel()
	p, url := instance(t, "--config.file="+file(t, "am.yml", config("nobody")), "--cluster.listen-address=")
	status, err := get(url + "/api/v2/status")
	if err != nil || !strings.Contains(status, `"status":"disabled"`) {
		t.Errorf("/api/v2/status: %s, %v", status, err)
	}
	metrics, err := get(url + "/metrics")
	if err != nil || !strings.Contains(metrics, "\nalertmanager_cluster_enabled 0\n") || strings.Contains(metrics, "alertmanager_cluster_members") {
		t.Errorf("metrics of a cluster where there is none: %v\n%s", err, metrics)
	}
	terminated(t, p)
	for _, name := range []string{"nflog", "silences"} {
		if _, err := os.Stat(filepath.Join(p.cmd.Dir, "data", name)); err != nil {
			t.Errorf("snapshot: %v", err)
		}
	}
}

func TestByGrafanasFile(t *testing.T) {
	t.Parallel()
	conf := "--config.file=" + file(t, "am.yml", config("nobody"))
	addrs := []string{freeAddress(t), freeAddress(t)}
	ini := func(addr string) string {
		return "--config.ini=" + file(t, "custom.ini", "[unified_alerting]\nha_listen_address = "+addr+"\nha_label = ini-test\nha_peer_timeout = 3s\nha_peers = "+strings.Join(addrs, ",")+"\n")
	}
	_, firstURL := instance(t, conf, "--storage.path=", ini(addrs[0]))
	second, secondURL := instance(t, conf, "--storage.path=", ini(addrs[1]))
	for _, url := range []string{firstURL, secondURL} {
		second.eventually(t, func() error {
			metrics, err := get(url + "/metrics")
			if got := value(metrics, "alertmanager_cluster_members"); err == nil && got != "2" {
				err = fmt.Errorf("members: %q, want 2", got)
			}
			return err
		})
	}
	limited, url := instance(t, conf, "--storage.path=", "--silences.max-silence-size-bytes=100000", "--config.ini="+file(t, "limits.ini",
		"[unified_alerting]\nalertmanager_max_silences_count = 1\nmax_attempts = 5\n[alerting]\nexecute_alerts = false\n[quota]\nalerting_rule_evaluation_results = 9\n"))
	silence(t, url, "quiet", "the only one")
	more, err := http.Post(url+"/api/v2/silences", "application/json", strings.NewReader(
		`{"matchers":[{"name":"a","value":"b","isRegex":false}],"startsAt":"2000-01-01T00:00:00Z","endsAt":"2999-01-01T00:00:00Z","createdBy":"t","comment":"one too many"}`))
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := io.ReadAll(more.Body); more.StatusCode == http.StatusOK || !strings.Contains(string(reply), "maximum number of silences") {
		t.Errorf("one more silence than alertmanager_max_silences_count: %s: %s, %v", more.Status, reply, err)
	}
	_ = more.Body.Close()
	for _, line := range []string{
		`setting=execute_alerts instead=execute_alerts value=false`,
		`have no effect here; the command config check says why" file=`, `settings="max_attempts, [quota] alerting_rule_evaluation_results"`,
	} {
		if !strings.Contains(limited.stderr.String(), line) {
			t.Errorf("the log does not say %s:\n%s", line, limited.stderr.String())
		}
	}
	bad := run(t, "alertmanager", conf, "--config.ini="+file(t, "bad.ini", "[unified_alerting]\nha_peers = a:1\nha_peer_timeout = soon\n"))
	if code := bad.exitCode(t, patience); code == 0 || !strings.Contains(bad.stderr.String(), "ha_peer_timeout") {
		t.Errorf("a bad duration: exit code %d: %s", code, bad.stderr.String())
	}
}

// freeAddress returns an address on which nobody listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// terminated fails unless SIGTERM ends the process as it should.
func terminated(t *testing.T, p *process) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	if code := p.exitCode(t, 10*time.Second); code != 0 {
		t.Errorf("exit code after SIGTERM: %d", code)
	}
}

func TestTwoOverGossip(t *testing.T) {
	t.Parallel()
	conf := "--config.file=" + file(t, "am.yml", config("nobody"))
	first, firstURL := instance(t, conf, "--storage.path=", "--cluster.listen-address=127.0.0.1:0", "--cluster.peer-name=a", "--cluster.label=cmd-test")
	gossip := gossipAddress(t, firstURL)
	second, secondURL := instance(t, conf, "--storage.path=", "--cluster.listen-address=127.0.0.1:0", "--cluster.peer-name=b", "--cluster.label=cmd-test", "--cluster.peer="+gossip)
	positions := func(p *process, members, position int, url string) {
		t.Helper()
		p.eventually(t, func() error {
			metrics, err := get(url + "/metrics")
			if err != nil {
				return err
			}
			for metric, want := range map[string]int{"alertmanager_cluster_members": members, "alertmanager_peer_position": position} {
				if got := value(metrics, metric); got != fmt.Sprint(want) {
					return fmt.Errorf("%s is %q, want %d", metric, got, want)
				}
			}
			return nil
		})
	}
	positions(first, 2, 0, firstURL)
	positions(second, 2, 1, secondURL)
	terminated(t, first)
	positions(second, 1, 0, secondURL)
	if metrics, err := get(secondURL + "/metrics"); err != nil || value(metrics, "alertmanager_cluster_peers_left_total") != "1" {
		t.Errorf("peers that left: %q, want 1 (%v)", value(metrics, "alertmanager_cluster_peers_left_total"), err)
	}
	terminated(t, second)
}

// value is that of the first series of the metric.
func value(metrics, name string) string {
	series := regexp.MustCompile(`(?m)^` + name + `(?:\{.*\})? (\S+)$`).FindStringSubmatch(metrics)
	if series == nil {
		return ""
	}
	return series[1]
}

// gossipAddress is where the instance, the only one so far, gossips.
func gossipAddress(t *testing.T, url string) string {
	t.Helper()
	body, err := get(url + "/api/v2/status")
	if err != nil {
		t.Fatal(err)
	}
	var status struct {
		Cluster struct{ Peers []struct{ Address string } }
	}
	if err := json.Unmarshal([]byte(body), &status); err != nil || len(status.Cluster.Peers) != 1 {
		t.Fatalf("status of a single node: %s (%v)", body, err)
	}
	return status.Cluster.Peers[0].Address
}

func TestHangupReloads(t *testing.T) {
	t.Parallel()
	conf := file(t, "am.yml", config("before"))
	p, url := instance(t, "--config.file="+conf, "--storage.path=", "--cluster.listen-address=")
	inForce := func(receiver string) error {
		if receivers, err := get(url + "/api/v2/receivers"); err != nil || !strings.Contains(receivers, fmt.Sprintf("%q", receiver)) {
			return fmt.Errorf("receivers are %s, want %s (%v)", receivers, receiver, err)
		}
		return nil
	}
	p.eventually(t, func() error { return inForce("before") })

	writeFile(t, conf, "route:\n  receiver: [")
	p.signal(t, syscall.SIGHUP)
	p.eventually(t, func() error {
		if log := p.stderr.String(); !strings.Contains(log, "am.yml") || !strings.Contains(log, "line 2") {
			return fmt.Errorf("the log does not name file and line")
		}
		return nil
	})
	if err := inForce("before"); err != nil {
		t.Error(err)
	}

	writeFile(t, conf, config("after"))
	p.signal(t, syscall.SIGHUP)
	p.eventually(t, func() error { return inForce("after") })
	terminated(t, p)
}
