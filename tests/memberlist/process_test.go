package interop_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/clusterchannel/clusterchannel/backend"
	child "github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
)

// requireBinary is the variable that makes an absent binary a failure.
const requireBinary = "CCTEST_REQUIRE_ALERTMANAGER"

func binary(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"alertmanager", "prometheus-alertmanager"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv(requireBinary) == "1" {
		t.Fatalf("no alertmanager binary is in PATH, and %s is 1", requireBinary)
	}
	t.Skipf("no alertmanager binary is in PATH (set %s=1 to have this fail)", requireBinary)
	return ""
}

// process is a running Alertmanager.
type process struct {
	cmd    *exec.Cmd
	api    string
	gossip string
	log    *bytes.Buffer
}

func run(t *testing.T, peers ...string) *process {
	t.Helper()
	return runProgram(t, binary(t), nil, peers...)
}

func runProgram(t *testing.T, program string, flags []string, peers ...string) *process {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(config, []byte("route: {receiver: none}\nreceivers: [{name: none}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{api: freeAddr(t), gossip: newAddr(), log: &bytes.Buffer{}}
	args := []string{
		"--config.file=" + config, "--storage.path=" + dir, "--web.listen-address=" + p.api,
		"--cluster.listen-address=" + p.gossip, "--cluster.settle-timeout=1s",
	}
	args = append(args, flags...)
	for _, peer := range peers {
		args = append(args, "--cluster.peer="+peer)
	}
	p.cmd = exec.Command(program, args...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.end()
		if t.Failed() { // Wait has ended the writes
			t.Logf("alertmanager:\n%s", p.log)
		}
	})
	return p
}

// end ends the process, if it has not ended.
func (p *process) end() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

type apiSilence struct {
	ID        string               `json:"id,omitempty"`
	Matchers  []map[string]any     `json:"matchers"`
	StartsAt  time.Time            `json:"startsAt"`
	EndsAt    time.Time            `json:"endsAt"`
	CreatedBy string               `json:"createdBy"`
	Comment   string               `json:"comment"`
	Status    *struct{ State any } `json:"status,omitempty"`
}

var client = http.Client{Timeout: 5 * time.Second}

func (p *process) call(method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, "http://"+p.api+"/api/v2"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(out)
}

// silences returns the ids of the silences by comment.
func (p *process) silences() (map[string]string, error) {
	var all []apiSilence
	if err := p.call(http.MethodGet, "/silences", nil, &all); err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for _, s := range all {
		ids[s.Comment] = s.ID
	}
	return ids, nil
}

func TestRealAlertmanager(t *testing.T) {
	o := open(t, "a", map[string]string{"label": ""}) // a binary of 2022 knows no label
	before := o.silence(t, "before it came", 0)
	p := run(t, o.addr)
	has := func(comment, id string) func() error {
		return func() error {
			ids, err := p.silences()
			if err == nil && ids[comment] != id {
				err = fmt.Errorf("%w: silence %q", errAbsent, comment)
			}
			return err
		}
	}
	members := func(n int) func() error {
		return func() error {
			v := o.View()
			if len(v.Members) != n {
				return fmt.Errorf("we list %v", v.Members)
			}
			return nil
		}
	}
	eventually(t, "it is a member of our cluster", members(2))
	eventually(t, "we are a member of its", func() error {
		var status struct {
			Cluster struct {
				Peers []struct{ Name, Address string }
			}
		}
		if err := p.call(http.MethodGet, "/status", nil, &status); err != nil {
			return err
		}
		if len(status.Cluster.Peers) != 2 {
			return fmt.Errorf("it lists %v", status.Cluster.Peers)
		}
		return nil
	})
	if v := o.View(); v.Status != backend.Attached {
		t.Errorf("we are %v: %v", v.Status, v.Err)
	}
	eventually(t, "it has the silence from before it came", has("before it came", before))
	eventually(t, "it has a silence of ours", has("live", o.silence(t, "live", 0)))

	var made struct{ SilenceID string }
	if err := p.call(http.MethodPost, "/silences", apiSilence{
		Matchers: []map[string]any{{"name": "alertname", "value": "x", "isRegex": false, "isEqual": true}},
		StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour), CreatedBy: "test", Comment: "of its own",
	}, &made); err != nil {
		t.Fatal(err)
	}
	eventually(t, "we have a silence of its", func() error { return o.holds(made.SilenceID, "") })

	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	eventually(t, "it has left", members(1))
}

func TestRealAlertmanagerCrashes(t *testing.T) {
	o := open(t, "a", map[string]string{"label": ""}) // a binary of 2022 knows no label
	p := run(t, o.addr)
	eventually(t, "it is a member of our cluster", func() error {
		if n := len(o.Members()); n != 2 {
			return fmt.Errorf("%d members", n)
		}
		return nil
	})
	began := time.Now()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "we know of the crash", func() error {
		if v := o.View(); v.Status != backend.Detached {
			return fmt.Errorf("%v with %d members", v.Status, len(v.Members))
		}
		return nil
	})
	t.Logf("a crash was seen after %v", time.Since(began).Round(time.Millisecond))
}

// leaves is how many real Alertmanagers leave, one after the other, each seen by two.
var leaves = flag.Int("leaves", 6, "Alertmanagers that leave")

// A goodbye is one, on every node, though the process is gone a moment later. The
// binary of 2022 says none.
func TestRealAlertmanagerLeaves(t *testing.T) {
	program := child.Need(t, "alertmanager")
	file := testca.GossipFile(t, t.TempDir())
	for name, c := range map[string]struct {
		params map[string]string
		flags  []string
	}{
		"plain": {},
		"TLS":   {map[string]string{"tls_config_file": file}, []string{"--cluster.tls-config=" + file}},
	} {
		t.Run(name, func(t *testing.T) {
			with := func(more map[string]string) map[string]string {
				all := map[string]string{"label": ""}
				maps.Copy(all, c.params)
				maps.Copy(all, more)
				return all
			}
			registries := []*prometheus.Registry{prometheus.NewRegistry(), prometheus.NewRegistry()}
			a := openRegistered(t, "a", registries[0], with(nil))
			b := openRegistered(t, "b", registries[1], with(map[string]string{"peers": a.addr}))
			count := func(n int) func(*ours) {
				return func(o *ours) {
					eventually(t, fmt.Sprintf("%d members", n), func() error {
						if have := len(o.Members()); have != n {
							return fmt.Errorf("%d members", have)
						}
						return nil
					})
				}
			}
			both := func(f func(*ours)) { f(a); f(b) }
			for range *leaves {
				p := runProgram(t, program, c.flags, a.addr, b.addr)
				both(count(3))
				if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				both(count(2))
				p.end()
			}
			for i, r := range registries {
				left, failed := counted(t, r, "alertmanager_cluster_peers_left_total"), counted(t, r, "clusterchannel_members_failed_total")
				t.Logf("node %d: %v have left and %v have failed", i, left, failed)
				if left != float64(*leaves) || failed != 0 {
					t.Errorf("node %d: %v have left and %v have failed, want %d and 0", i, left, failed, *leaves)
				}
			}
		})
	}
}

// counted returns a counter; of those by kind of message, that of updates.
func counted(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == "full_state" }) {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}
