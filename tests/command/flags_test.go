package command_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	local "github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// serves fails unless the process answers HTTP.
func (p *process) serves(t *testing.T) string {
	t.Helper()
	url := p.url(t)
	testkit.Eventually(t, patience, func() error {
		answer, err := http.Get(url + "/-/healthy")
		if err != nil {
			return err
		}
		_ = answer.Body.Close() // its status says all
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("/-/healthy: %s", answer.Status)
		}
		return nil
	})
	return url
}

// Command lines that others generate start as they are, but for paths and for
// ports, which are free ones here. $(POD_IP) is 127.0.0.1.
func TestCommandLinesOfOthers(t *testing.T) {
	t.Parallel()
	conf := file(t, "alertmanager.yml", config("nobody"))
	for source, line := range map[string]string{
		// makeStatefulSetSpec of pkg/alertmanager/operator.go
		"prometheus-operator, one replica":     "--config.file=CONF --storage.path=DATA --data.retention=120h --cluster.listen-address= --web.listen-address=:0 --web.route-prefix=/ --cluster.label=monitoring/main --cluster.reconnect-timeout=5m",
		"prometheus-operator, three replicas":  "--config.file=CONF --storage.path=DATA --data.retention=5d --cluster.listen-address=[127.0.0.1]:0 --web.listen-address=127.0.0.1:0 --web.external-url=http://alertmanager-main.monitoring:9093 --web.route-prefix=/ --log.level=info --log.format=logfmt --cluster.label=monitoring/main --cluster.peer=alertmanager-main-0.alertmanager-operated:9094 --cluster.peer=alertmanager-main-1.alertmanager-operated:9094 --cluster.reconnect-timeout=5m --cluster.gossip-interval=200ms --cluster.pushpull-interval=1m --cluster.peer-timeout=15s",
		"prometheus-operator, minReadySeconds": "--config.file=CONF --storage.path=DATA --data.retention=120h --cluster.listen-address=[127.0.0.1]:0 --web.listen-address=:0 --web.route-prefix=/ --dispatch.start-delay=30s --enable-feature=receiver-name-in-metrics --cluster.reconnect-timeout=5m",
		// charts/alertmanager/templates/statefulset.yaml
		"prometheus-community/helm-charts, one replica":    "--storage.path=DATA --config.file=CONF --web.listen-address=:0",
		"prometheus-community/helm-charts, three replicas": "--storage.path=DATA --config.file=CONF --cluster.advertise-address=[127.0.0.1]:9094 --cluster.listen-address=0.0.0.0:0 --cluster.peer=alertmanager-0.alertmanager-headless:9094 --cluster.peer=alertmanager-1.alertmanager-headless:9094 --log.level=debug --web.listen-address=:0",
		// the image bitnami/alertmanager, whose chart kube-prometheus uses the operator
		"bitnami": "--config.file=CONF --storage.path=DATA --web.listen-address=0.0.0.0:0",
		// devenv/docker/ha-test of grafana/grafana
		"grafana": "--config.file=CONF --log.level=debug --storage.path=DATA --web.listen-address=:0 --cluster.listen-address=127.0.0.1:0",
	} {
		t.Run(source, func(t *testing.T) {
			line := strings.NewReplacer("CONF", conf, "DATA", t.TempDir()).Replace(line)
			if !strings.Contains(line, "listen-address=[") && !strings.Contains(line, "cluster.listen-address") {
				line += " --cluster.listen-address=127.0.0.1:0" // the default port may be taken here
			}
			run(t, strings.Fields(line)...).serves(t)
		})
	}
}

// Every flag of Alertmanager is accepted, in every form.
func TestFormsOfFlags(t *testing.T) {
	t.Parallel()
	args := file(t, "args", "# as a file, a line each\n--silences.max-silences=5\n\n--silences.max-silence-size-bytes=100000\n")
	p := run(t, "alertmanager", "--config.file="+file(t, "alertmanager.yml", config("nobody")), "--storage.path", t.TempDir(), "@"+args,
		"--data.retention=5d", "--data.maintenance-interval=1h30m", "--log.silences", "--alerts.gc-interval=1w", "--alerts.per-alertname-limit=10",
		"--dispatch.maintenance-interval=30s", "--dispatch.start-delay=0s", "--web.listen-address=127.0.0.1:0", "--no-web.systemd-socket",
		"--web.external-url=http://a.example/am/", "--web.route-prefix=/", `--web.cors.origin=https://a\.example`, "--web.get-concurrency=4", "--web.timeout=1m",
		"--auto-gomemlimit.ratio=0.5", "--enable-feature=auto-gomemlimit,alert-names-in-metrics", "--log.level=INFO", "--log.format=JSON",
		"--cluster.listen-address=[127.0.0.1]:0", "--cluster.advertise-address=[127.0.0.1]:1234", "--cluster.peer=[127.0.0.1]:1", "--cluster.settle-timeout=0s",
		"--no-cluster.allow-insecure-public-advertise-address-discovery", "--cluster.reconnect-timeout=1d", "--cluster.peers-resolve-timeout=15s", "--no-rules.single-evaluation")
	testkit.Eventually(t, patience, func() error {
		if !strings.Contains(p.stderr.String(), `"msg":"Listening on"`) {
			return fmt.Errorf("it does not listen")
		}
		return nil
	})
	for line := range strings.Lines(p.stderr.String()) {
		var entry struct {
			Msg  string
			Name string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Errorf("a line of the log is no JSON: %v: %s", err, line)
		}
	}
	for _, word := range []string{`"msg":"starting"`, `"backend":"memberlist"`, alertmanager.Version, "GOMEMLIMIT"} {
		if !strings.Contains(p.stderr.String(), word) {
			t.Errorf("the log does not say %s", word)
		}
	}
}

// With JSON logs also the reason why it cannot run is JSON.
func TestReasonIsJSON(t *testing.T) {
	t.Parallel()
	p := run(t, "alertmanager", "--log.format=json", "--config.file="+filepath.Join(t.TempDir(), "absent.yml"))
	if code := p.exitCode(t, patience); code != 1 {
		t.Errorf("exit code %d", code)
	}
	var entry struct{ Level, Err string }
	if err := json.Unmarshal([]byte(p.stderr.String()), &entry); err != nil || entry.Level != "ERROR" || !strings.Contains(entry.Err, "absent.yml") {
		t.Errorf("%v: %s", err, p.stderr.String())
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--version"}, {"alertmanager", "--version"}} {
		p := run(t, args...)
		if code := p.exitCode(t, patience); code != 0 {
			t.Errorf("%q: exit code %d", args, code)
		}
		if out := p.stdout.String(); !strings.Contains(out, "clusterchannel, version ") || !strings.Contains(out, alertmanager.Version) {
			t.Errorf("%q prints %q", args, out)
		}
	}
}

// A node that reaches no other sends after ten seconds, however it is configured.
// It says what notifications wait for and until when, and why it reaches nobody:
// in the log, on the status page and in the doctor's report with the same words.
func TestNodeThatReachesNobody(t *testing.T) {
	t.Parallel()
	closed, unknown := freeAddress(t), "no-such-host.invalid:9094"
	conf := file(t, "alertmanager.yml", config("nobody"))
	for way, source := range map[string][]string{
		"flags": {"--cluster.listen-address=127.0.0.1:0", "--cluster.peer=" + closed, "--cluster.peer=" + unknown},
		"YAML":  {"--cluster.config=" + file(t, "cluster.yml", fmt.Sprintf("backend: memberlist\ncluster: alone\nmemberlist: {listen_address: 127.0.0.1:0, peers: [%q, %q]}\n", closed, unknown))},
		"ini":   {"--config.ini=" + file(t, "custom.ini", "[unified_alerting]\nha_listen_address = 127.0.0.1:0\nha_peers = "+closed+","+unknown+"\n")},
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			p := run(t, append([]string{"alertmanager", "--config.file=" + conf, "--storage.path=", "--web.listen-address=127.0.0.1:0"}, source...)...)
			url := p.serves(t)
			testkit.Eventually(t, patience, func() error {
				answer, err := http.Get(url + "/-/ready")
				if err != nil {
					return err
				}
				_ = answer.Body.Close() // its status says all
				if answer.StatusCode != http.StatusOK {
					return fmt.Errorf("/-/ready: %s", answer.Status)
				}
				return nil
			})
			if took := time.Since(began); took > 25*time.Second {
				t.Errorf("it settled after %v", took)
			}
			page, err := answer(http.Get(url + "/status.json"))
			if err != nil {
				t.Fatal(err)
			}
			var status struct{ Summary struct{ Text string } }
			if err := json.Unmarshal(page, &status); err != nil {
				t.Fatal(err)
			}
			log := p.stderr.String()
			for _, reason := range []string{"dial tcp " + closed + ": connect: connection refused", unknown + ": no such host"} {
				if !strings.Contains(log, reason) {
					t.Errorf("the log does not say %q:\n%s", reason, log)
				}
				if !strings.Contains(status.Summary.Text, reason) {
					t.Errorf("the status page does not say %q: %s", reason, status.Summary.Text)
				}
			}
			if !strings.Contains(log, "notifications wait until") || !strings.Contains(log, "until_at_most=") {
				t.Error("it does not say what notifications wait for, and until when")
			}
			if failed := value(metrics(t, url), "alertmanager_cluster_reconnections_failed_total"); failed == "0" || failed == "" {
				t.Errorf("%q attempts have failed", failed)
			}
			d := doctor(t, strings.Replace(source[0], "--cluster.config=", "", 1), "--timeout=2s")
			if way == "flags" {
				d = doctor(t, append(source, "--timeout=2s")...)
			}
			d.has(t, "tcp", "fail", "dial tcp "+closed+": connect: connection refused")
			d.has(t, "name", "fail", "no-such-host.invalid", "no such host")
		})
	}
}

// Every flag that Alertmanager, new or old, lists in its help is there, with the same
// negation.
func TestFlagsOfAlertmanager(t *testing.T) {
	t.Parallel()
	listed := func(p *process) map[string]bool {
		t.Helper()
		if code := p.exitCode(t, patience); code != 0 {
			t.Fatalf("exit code %d: %s", code, p.stderr.String())
		}
		all := map[string]bool{}
		for _, found := range regexp.MustCompile(`(?m)^\s+(?:-h, )?(--(?:\[no-\])?[a-z.-]*[a-z])`).FindAllStringSubmatch(p.stdout.String(), -1) {
			all[found[1]] = true
		}
		return all
	}
	ours := listed(run(t, "alertmanager", "--help"))
	compare := func(original string, least int) {
		t.Helper()
		theirs := listed(runProgram(t, original, "--help"))
		if len(theirs) < least {
			t.Fatalf("%s has only %v", original, theirs)
		}
		for flag := range theirs {
			switch plain := strings.Replace(flag, "[no-]", "", 1); {
			case plain == "--help-long" || plain == "--help-man": // the help is always long
			case plain == "--web.ui-path": // of Debian's alone
			case ours[flag], ours[strings.Replace(flag, "--", "--[no-]", 1)], ours[plain] && (plain == "--help" || plain == "--version"):
			default:
				t.Errorf("%s of %s is missing", flag, original)
			}
		}
	}
	compare(local.Need(t, "alertmanager"), 40)
	older, err := exec.LookPath("prometheus-alertmanager") // Debian's, 0.25
	switch {
	case err == nil:
		compare(older, 25)
	case os.Getenv(requireAlertmanager) == "1":
		t.Errorf("%v, and %s is 1", err, requireAlertmanager)
	}
}

// Each form of each flag is judged as Alertmanager judges it, except those
// listed in docs/migrating.md.
func TestVerdictsOfAlertmanager(t *testing.T) {
	t.Parallel()
	original := local.Need(t, "alertmanager") // of the version in cmd/go.mod
	conf, web := file(t, "alertmanager.yml", config("nobody")), file(t, "web.yml", "basic_auth_users: {}\n")
	args := file(t, "args", "--log.level=debug\n# a comment\n--data.retention=5d\n")
	forms := []string{
		"--log.level=INFO", "--log.level=Debug", "--log.level=loud", "--log.format=json", "--log.format=xml",
		"--data.retention=5d", "--data.retention=1w2d", "--data.retention=1.5h", "--data.retention=120", "--data.retention=0s", "--data.retention=-1h",
		"--data.maintenance-interval=1d", "--data.maintenance-interval=0s", "--alerts.gc-interval=1d", "--alerts.gc-interval=0s",
		"--silences.max-silences=-1", "--silences.max-silences=x", "--silences.max-silence-size-bytes=10", "--alerts.per-alertname-limit=3",
		"--log.silences", "--no-log.silences", "--dispatch.maintenance-interval=1m", "--dispatch.maintenance-interval=0s", "--dispatch.start-delay=1d", "--dispatch.start-delay=-1s",
		"--web.cors.origin=.*", "--web.cors.origin=(", "--web.get-concurrency=-1", "--web.get-concurrency=x", "--web.timeout=-1s", "--web.timeout=1m",
		"--web.external-url=http://a/b/", "--web.external-url=ftp://a", "--web.route-prefix=x/y", "--web.config.file=" + web, "--web.config.file=/absent",
		"--no-web.systemd-socket", "--web.systemd-socket", "--web.listen-address=nowhere", "--web.listen-address=127.0.0.1:http-alt",
		"--enable-feature=classic-mode", "--enable-feature=utf8-strict-mode", "--enable-feature=classic-mode,utf8-strict-mode", "--enable-feature=x", "--enable-feature=event-recorder,group-key-in-metrics",
		"--auto-gomemlimit.ratio=0.5", "--auto-gomemlimit.ratio=2", "--auto-gomemlimit.ratio=2 --enable-feature=auto-gomemlimit", "--enable-feature=auto-gomemlimit",
		"--cluster.listen-address=", "--cluster.listen-address=[127.0.0.1]:0", "--cluster.listen-address=[::1]:0", "--cluster.listen-address=:0", "--cluster.listen-address=localhost:0", "--cluster.listen-address=nowhere",
		"--cluster.advertise-address=[127.0.0.1]:1", "--cluster.advertise-address=127.0.0.1:1", "--cluster.peer=[127.0.0.1]:1", "--cluster.peer=a.invalid:1", "--cluster.peer=127.0.0.1:1 --cluster.peer=127.0.0.1:2",
		"--cluster.peer-timeout=1d", "--cluster.peer-timeout=0s", "--cluster.settle-timeout=0s", "--cluster.settle-timeout=1d", "--cluster.reconnect-timeout=1d", "--cluster.peers-resolve-timeout=1s",
		"--cluster.gossip-interval=1s", "--cluster.pushpull-interval=1d", "--cluster.tcp-timeout=1s", "--cluster.probe-timeout=1s", "--cluster.probe-interval=2s", "--cluster.reconnect-interval=1m",
		"--cluster.label=x", "--cluster.peer-name=x", "--cluster.tls-config=/absent", "--no-cluster.allow-insecure-public-advertise-address-discovery", "--cluster.allow-insecure-public-advertise-address-discovery",
		"--config.file=/absent", "--storage.path=/proc/absent", "--unknown", "--version", "--help", "@/absent",
		// values of their own, numbers as charts write them, and what is empty where a variable was
		"--log.level debug", "--data.retention 5d", "--data.retention=+5d", "--data.retention=1y", "--data.retention=", "--web.listen-address 127.0.0.1:0", "@" + args,
		"--silences.max-silence-size-bytes=1e+06", "--web.get-concurrency=8.0", "--alerts.per-alertname-limit=-1", "--auto-gomemlimit.ratio=x",
		"--cluster.advertise-address=:9094", "--cluster.advertise-address=", "--cluster.advertise-address=8.8.8.8:1", "--cluster.peer=localhost", "--cluster.peer=localhost:1", "--cluster.peer=[::1]:1",
		"--cluster.listen-address=9094", "--cluster.listen-address=127.0.0.1:http-alt", "--cluster.listen-address=127.0.0.1:", "--cluster.listen-address= --cluster.peer=a:1",
		"--cluster.label=", "--cluster.label=a/b", "--cluster.tls-config=", "--web.config.file=", "--web.cors.origin=", "--web.external-url=", "--web.route-prefix=", "--enable-feature=", "--log.level=", "--config.file=",
		"--web.listen-address=9093", "--web.listen-address=[::1]:0", "--web.listen-address=localhost:0", "--web.listen-address=127.0.0.1:0 --web.listen-address=127.0.0.1:0",
		"--web.external-url=a.example:9093", "--web.external-url=//a/b", "--web.external-url=http://u:p@a/b?c=d", "--web.external-url=http://a/x --web.route-prefix=/", "--web.route-prefix=//a//", "--web.route-prefix=/a/:b", "--web.route-prefix=/a/*b",
		"--log.level=warning", "--storage.path=/dev/null", "--enable-feature=event-recorder", "-h", "--help-long", "extra", "--",
	}
	for _, form := range forms {
		t.Run(form, func(t *testing.T) {
			line := append([]string{"--config.file=" + conf, "--storage.path=" + t.TempDir()}, strings.Fields(form)...)
			for _, free := range []string{"--web.listen-address", "--cluster.listen-address"} {
				if !strings.Contains(form, free) {
					line = append(line, free+"=127.0.0.1:0")
				}
			}
			if strings.Contains(form, "--config.file") {
				line = line[1:]
			}
			if strings.Contains(form, "--storage.path") {
				line = append(line[:1], line[2:]...)
			}
			theirs := verdict(t, runProgram(t, original, line...))
			ours := verdict(t, run(t, append([]string{"alertmanager"}, line...)...))
			if theirs != ours {
				t.Errorf("Alertmanager %s, and we: %s", theirs, ours)
			}
		})
	}
}

// verdict is how a program that has ended judged its arguments.
func verdict(t *testing.T, p *process) (v string) {
	t.Helper()
	defer func() {
		_ = p.cmd.Process.Kill() // it may have ended by itself
		<-p.ended
	}()
	testkit.Eventually(t, patience, func() error {
		select {
		case <-p.ended:
			v = "refuses it"
			if p.cmd.ProcessState.ExitCode() == 0 {
				v = "answers and ends"
			}
			return nil
		default:
		}
		// It says so when it has read the web configuration, after "Listening on".
		if log := p.stderr.String(); strings.Contains(log, "TLS is disabled.") || strings.Contains(log, "TLS is enabled.") {
			v = "runs"
			return nil
		}
		return fmt.Errorf("nothing is to be seen of it")
	})
	return v
}
