package interop_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
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
	for _, peer := range peers {
		args = append(args, "--cluster.peer="+peer)
	}
	p.cmd = exec.Command(binary(t), args...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if t.Failed() { // Wait has ended the writes
			t.Logf("alertmanager:\n%s", p.log)
		}
	})
	return p
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
