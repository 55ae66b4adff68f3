package backend_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

func init() {
	open := func(context.Context, driver.Options) (driver.Driver, error) {
		return nil, errors.New("never opened")
	}
	backend.Register("sourcetest", driver.Backend{Open: open})
	backend.Register("sourcetest2", driver.Backend{Open: open})
}

// TestSources holds all sources to the same Config.
func TestSources(t *testing.T) {
	want := backend.Config{
		Backend: "sourcetest", Cluster: "alerts", Name: "node-1",
		Meta:        map[string]string{"zone": "eu", "rack": "7"},
		Params:      map[string]string{"peers": "a:9094,b:9094", "tls": "true", "timeout": "2s", "db": "007", "label": ""},
		Timing:      backend.Timing{Heartbeat: time.Second, Grace: 2 * time.Second, Settle: 3 * time.Second, Sync: 4 * time.Second},
		OnIsolation: backend.HoldView, OnStartFailure: backend.Fail, MaxPayload: 1 << 10, QueueItems: 5, QueueBytes: 1 << 10,
	}
	fromURL, err := backend.ParseURL("sourcetest://?cluster=alerts&name=node-1&meta.zone=eu&meta.rack=7&peers=a:9094,b:9094&tls=true&timeout=2s&db=007&label=" +
		"&heartbeat=1s&grace=2s&settle=3s&sync=4s&on_isolation=hold&on_start_failure=fail&max_payload=1KiB&queue_items=5&queue_bytes=1KiB")
	if err != nil || !reflect.DeepEqual(fromURL, want) {
		t.Errorf("ParseURL = %+v, %v, want %+v", fromURL, err, want)
	}
	text := `
backend: sourcetest
cluster: alerts
name: "node-1"
meta: {zone: eu, rack: 7}
timing:
  heartbeat: 1s
  grace: 2s
  settle: 3s
  sync: 4s
on_isolation: hold
on_start_failure: fail
max_payload: 1KiB
queue_items: 5
queue_bytes: 1KiB
sourcetest:
  peers: [a:9094, &b b:9094]
  tls: true
  timeout: 2s
  db: 007
  label: ""
  password:
sourcetest2:
  peers: [*b]
  whatever: 1
`
	fromYAML, err := backend.ParseYAML([]byte(text))
	if err != nil || !reflect.DeepEqual(fromYAML, want) {
		t.Errorf("ParseYAML = %+v, %v, want %+v", fromYAML, err, want)
	}
	file := filepath.Join(t.TempDir(), "cluster.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	fromFile, err := backend.LoadFile(file)
	if err != nil || !reflect.DeepEqual(fromFile, want) {
		t.Errorf("LoadFile = %+v, %v, want %+v", fromFile, err, want)
	}
	fromEnv, err := backend.FromEnv([]string{
		"PATH=/bin", "CLUSTERCHANNEL_BACKEND=sourcetest", "CLUSTERCHANNEL_CLUSTER=alerts", "CLUSTERCHANNEL_NAME=node-1",
		"CLUSTERCHANNEL_META_ZONE=eu", "CLUSTERCHANNEL_META_RACK=7",
		"CLUSTERCHANNEL_PARAM_PEERS=a:9094,b:9094", "CLUSTERCHANNEL_PARAM_TLS=true", "CLUSTERCHANNEL_PARAM_TIMEOUT=2s", "CLUSTERCHANNEL_PARAM_DB=007",
		"CLUSTERCHANNEL_HEARTBEAT=1s", "CLUSTERCHANNEL_GRACE=2s", "CLUSTERCHANNEL_SETTLE=3s", "CLUSTERCHANNEL_SYNC=4s",
		"CLUSTERCHANNEL_ON_ISOLATION=hold", "CLUSTERCHANNEL_ON_START_FAILURE=fail",
		"CLUSTERCHANNEL_MAX_PAYLOAD=1KiB", "CLUSTERCHANNEL_QUEUE_ITEMS=5", "CLUSTERCHANNEL_QUEUE_BYTES=1KiB",
		"CLUSTERCHANNEL_PARAM_LABEL=",
		"CLUSTERCHANNEL_SERVERS=process", "CLUSTERCHANNEL_IMAGE_REDIS=redis:8", "CLUSTERCHANNEL_NEMESIS_FOR=20s",
		"CLUSTERCHANNEL_SERVICE_HOST=10.0.0.1", "CLUSTERCHANNEL_SERVICE_PORT_HTTP=80", "CLUSTERCHANNEL_PORT=tcp://10.0.0.1:80", "CLUSTERCHANNEL_PORT_80_TCP=x",
	})
	if err != nil || !reflect.DeepEqual(fromEnv, want) {
		t.Errorf("FromEnv = %+v, %v, want %+v", fromEnv, err, want)
	}
}

func TestEmptySources(t *testing.T) {
	for _, text := range []string{"", "\n# nothing\n", "---\n", "null", "{}", "timing:\nmeta:\nsourcetest:\ncluster:\n"} {
		if c, err := backend.ParseYAML([]byte(text)); err != nil || !reflect.DeepEqual(c, backend.Config{}) {
			t.Errorf("ParseYAML(%q) = %+v, %v, want the zero Config", text, c, err)
		}
	}
	if c, err := backend.FromEnv([]string{"CLUSTERCHANNEL_HEARTBEAT="}); err != nil || !reflect.DeepEqual(c, backend.Config{}) {
		t.Errorf("FromEnv of an empty variable = %+v, %v, want the zero Config", c, err)
	}
}

func TestSwitchingIsOneKey(t *testing.T) {
	const blocks = "\nsourcetest: {a: 1}\nsourcetest2: {b: 2}\n"
	for name, want := range map[string]map[string]string{"sourcetest": {"a": "1"}, "sourcetest2": {"b": "2"}, "memory": nil} {
		c, err := backend.ParseYAML([]byte("backend: " + name + blocks))
		if err != nil || !reflect.DeepEqual(c.Params, want) {
			t.Errorf("backend %s: Params = %v, %v, want %v", name, c.Params, err, want)
		}
	}
}

func TestParseYAMLRefuses(t *testing.T) {
	for _, c := range []struct {
		text  string
		wants []string
	}{
		{"backend: sourcetest\nclustre: x", []string{"line 2", `did you mean "cluster"`, "sourcetest2, timing"}},
		{"backend: nope\nnope: {a: 1}", []string{"line 2", "unknown backend", "import"}},
		{"redis: {password: s3cret}", []string{"line 1", `"redis"`, "registered"}},
		{"heartbeat: 1s", []string{"line 1", "heartbeat", "under timing"}},
		{"timing: {hartbeat: 1s}", []string{"line 1", "timing", `did you mean "heartbeat"`, "grace, heartbeat, settle, sync"}},
		{"timing: {cluster: x}", []string{"line 1", "timing", "grace, heartbeat"}},
		{"timing: 1s", []string{"line 1", "timing", "mapping"}},
		{"\ntiming:\n  heartbeat: 5", []string{"line 3", "heartbeat", "unit"}},
		{"timing: {heartbeat: [1s]}", []string{"heartbeat", "single value"}},
		{"on_isolation: panic", []string{"line 1", "alone, hold"}},
		{"queue_items: -1", []string{"queue_items", "-1"}},
		{"name: a\nname: b", []string{"line 2", "name: is given twice"}},
		{"sourcetest: {a: 1, a: 2}", []string{"a: is given twice"}},
		{"sourcetest: {a: 1}\nsourcetest: {a: 2}", []string{"line 2", "sourcetest: is given twice"}},
		{"sourcetest: {a: {s3cret: 1}}", []string{"line 1", "a: is neither"}},
		{"sourcetest2: {a: [[s3cret]]}", []string{"line 1", "a: item 1"}},
		{`sourcetest: {a: ["x", "s3cret,b"]}`, []string{"a: item 2"}},
		{`sourcetest: {a: ["x", ""]}`, []string{"a: item 2"}},
		{"sourcetest: [s3cret]", []string{"sourcetest: is not a mapping"}},
		{"sourcetest: {a: &x 1}\nmeta: {<<: *x, b: {c: 1}}", []string{"line 2"}},
		{"[a, b]", []string{"line 1", "mapping"}},
		{"just text", []string{"line 1", "mapping"}},
		{"? [a]\n: b", []string{"plain text"}},
		{"name: a\n---\nname: b", []string{"second document"}},
		{"name: a\n---\n[", []string{"yaml"}},
		{"sourcetest: {password: *s3cret}", []string{"anchor"}},
		{"sourcetest:\n\tpassword: s3cret", []string{"line 2"}},
		{"meta: {zone: " + strings.Repeat("z", 600) + "}", []string{"meta", "512"}},
	} {
		got, err := backend.ParseYAML([]byte(c.text))
		if !errors.Is(err, backend.ErrConfig) {
			t.Errorf("ParseYAML(%q) = %+v, %v, want ErrConfig", c.text, got, err)
			continue
		}
		for _, want := range c.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("ParseYAML(%q): %v, want it to say %q", c.text, err, want)
			}
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("ParseYAML(%q): the error shows a value: %v", c.text, err)
		}
	}
}

func TestLoadFileRefuses(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing.yaml")
	if _, err := backend.LoadFile(missing); !errors.Is(err, backend.ErrConfig) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("LoadFile of a missing file: %v, want ErrConfig and the cause", err)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("nope: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := backend.LoadFile(bad); !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), bad) {
		t.Errorf("LoadFile of a bad file: %v, want ErrConfig that names the file", err)
	}
}

func TestFromEnvRefuses(t *testing.T) {
	for _, c := range []struct {
		environ []string
		wants   []string
	}{
		{[]string{"CLUSTERCHANNEL_CLUSTRE=s3cret"}, []string{"CLUSTERCHANNEL_CLUSTRE", "did you mean CLUSTERCHANNEL_CLUSTER?", "CLUSTERCHANNEL_PARAM_*"}},
		{[]string{"CLUSTERCHANNEL_PASSWORD=s3cret"}, []string{"CLUSTERCHANNEL_PASSWORD", "CLUSTERCHANNEL_BACKEND, CLUSTERCHANNEL_CLUSTER"}},
		{[]string{"CLUSTERCHANNEL_PARAM_=s3cret"}, []string{"CLUSTERCHANNEL_PARAM_:"}},
		{[]string{"CLUSTERCHANNEL_cluster=s3cret"}, []string{"CLUSTERCHANNEL_cluster:"}},
		{[]string{"CLUSTERCHANNEL_TIMING_HEARTBEAT=s3cret"}, []string{"CLUSTERCHANNEL_HEARTBEAT"}},
		{[]string{"CLUSTERCHANNEL_PARAM_A=s3cret", "CLUSTERCHANNEL_PARAM_A=b"}, []string{"CLUSTERCHANNEL_PARAM_A", "given twice"}},
		{[]string{"CLUSTERCHANNEL_HEARTBEAT=5"}, []string{"heartbeat", "unit"}},
		{[]string{"CLUSTERCHANNEL_ON_ISOLATION=panic"}, []string{"alone, hold"}},
	} {
		got, err := backend.FromEnv(c.environ)
		if !errors.Is(err, backend.ErrConfig) {
			t.Errorf("FromEnv(%q) = %+v, %v, want ErrConfig", c.environ, got, err)
			continue
		}
		for _, want := range c.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("FromEnv(%q): %v, want it to say %q", c.environ, err, want)
			}
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("FromEnv(%q): the error shows a value: %v", c.environ, err)
		}
	}
}

func FuzzParseYAML(f *testing.F) {
	f.Add("backend: sourcetest\ntiming: {heartbeat: 1s}\nsourcetest:\n  peers: [a, b]\n")
	f.Add("&a [*a]")
	f.Add("sourcetest: &a {x: *a}")
	f.Add("? {a: b}\n: c\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := backend.ParseYAML([]byte(text)); err != nil && !errors.Is(err, backend.ErrConfig) {
			t.Errorf("ParseYAML(%q): %v, want ErrConfig", text, err)
		}
	})
}
