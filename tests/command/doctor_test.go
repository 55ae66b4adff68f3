package command_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	goredis "github.com/redis/go-redis/v9"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/all"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	local "github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// secret is what no report may show.
const secret = "hush-hush-4711"

// finding is one step of a report.
type finding struct{ Name, Status, Tried, Got, Fix string }

// diagnosis is a report of doctor.
type diagnosis struct {
	code  int
	Well  bool
	Steps []finding
}

// doctor runs the command and reads its report. It always checks that no secret
// is in it, nor in the text for people.
func doctor(t *testing.T, args ...string) diagnosis {
	t.Helper()
	text := run(t, append([]string{"doctor"}, args...)...)
	p := run(t, append([]string{"doctor", "--json"}, args...)...)
	d := diagnosis{code: p.exitCode(t, patience)}
	if text.exitCode(t, patience) != d.code {
		t.Errorf("the exit codes of text and JSON differ")
	}
	for _, out := range []string{text.stdout.String(), text.stderr.String(), p.stdout.String(), p.stderr.String()} {
		if strings.Contains(out, secret) {
			t.Errorf("a secret is shown: %s", out)
		}
	}
	if err := json.Unmarshal([]byte(p.stdout.String()), &d); err != nil {
		t.Fatalf("the report is no JSON: %v\n%s%s", err, p.stdout.String(), p.stderr.String())
	}
	for _, f := range d.Steps {
		if (f.Status == "fail" || f.Status == "warn") && f.Fix == "" {
			t.Errorf("it does not say what to do about %+v", f)
		}
	}
	if d.Well != (d.code == 0) {
		t.Errorf("well is %v, but the exit code %d", d.Well, d.code)
	}
	return d
}

// has fails unless a step of that name and status says all of the words.
func (d diagnosis) has(t *testing.T, name, status string, words ...string) {
	t.Helper()
	if !slices.ContainsFunc(d.Steps, func(f finding) bool {
		all := f.Tried + " " + f.Got + " " + f.Fix
		return f.Name == name && f.Status == status && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(all, w) }) &&
			(status != "fail" || f.Fix != "")
	}) {
		t.Errorf("no step %q is %q and says %q:\n%s", name, status, words, d)
	}
}

func (d diagnosis) String() string {
	b, err := json.MarshalIndent(d.Steps, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// sick is a configuration with something wrong, and what the report must say.
type sick struct {
	what  string
	args  []string
	step  string
	words []string
}

func (s sick) test(t *testing.T) {
	t.Helper()
	t.Run(s.what, func(t *testing.T) {
		d := doctor(t, append(s.args, "--timeout=2s")...)
		d.has(t, s.step, "fail", s.words...)
		want := 1
		if s.step == "configuration" {
			want = 2
		}
		if d.code != want {
			t.Errorf("exit code %d, want %d", d.code, want)
		}
	})
}

// seat opens a real member, and fails at the end of the test if it was
// disturbed: by a member that came, or by a frame that it could not use.
func seat(t *testing.T, config backend.Config) backend.ClusterChannel {
	t.Helper()
	registry := prometheus.NewRegistry()
	config.Registerer, config.Logger = registry, slog.New(slog.DiscardHandler)
	ch, err := backend.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := ch.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	before := ch.View().Epoch
	t.Cleanup(func() {
		if after := ch.View(); after.Epoch != before {
			t.Errorf("the member was disturbed: epoch %d, then %d with %v", before, after.Epoch, after.Members)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Error(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				// What comes with another label is counted as another cluster's.
				foreign := slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == "reason" && l.GetValue() == "cluster" })
				if f.GetName() == "clusterchannel_frames_rejected_total" && m.GetCounter().GetValue() > 0 && !foreign {
					t.Errorf("the member has rejected frames: %v", m)
				}
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := ch.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return ch
}

func TestDoctorConfiguration(t *testing.T) {
	t.Parallel()
	for _, s := range []sick{
		{"unknown backend", []string{"--cluster.backend=carrier-pigeon"}, "configuration", []string{"carrier-pigeon"}},
		{"unknown key", []string{"redis://localhost:6379?cluster=c&colour=red"}, "configuration", []string{"colour"}},
		{"bad URL", []string{"redis://u:" + secret + "@h:1/x@y"}, "configuration", []string{"URL"}},
		{"bad secret", []string{"memberlist://127.0.0.1:0?encryption_keys=" + secret}, "configuration", []string{"encryption_keys"}},
		{"bad file", []string{file(t, "cluster.yml", "backnd: redis\n")}, "configuration", []string{"backnd"}},
		{"bad ini", []string{"--config.ini=" + file(t, "bad.ini", "[unified_alerting]\nha_peers = a:1\nha_peer_timeout = soon\n")}, "configuration", []string{"ha_peer_timeout"}},
	} {
		s.test(t)
	}
	d := doctor(t, "memory://?cluster=doctor-test")
	d.has(t, "delivery", "ok", "heard after")
}

func TestDoctorRedis(t *testing.T) {
	t.Parallel()
	server := servers.Start(t, servers.Redis(), servers.Options{})
	seat(t, backend.Config{Backend: "redis", Cluster: "c", Name: "resident", Params: map[string]string{"address": server.Addr()}})
	d := doctor(t, "redis://"+server.Addr()+"?cluster=c&name=me")
	if d.code != 0 {
		t.Errorf("exit code %d:\n%s", d.code, d)
	}
	for _, name := range []string{"tcp", "auth", "acl", "pubsub", "output buffer", "clock", "delivery"} {
		d.has(t, name, "ok")
	}
	d.has(t, "members", "ok", "1: resident")

	for name, content := range map[string]string{
		"custom.ini":  "[unified_alerting]\nha_redis_address = " + server.Addr() + "\n",
		"cluster.yml": "backend: redis\ncluster: c\nredis: {address: \"" + server.Addr() + "\"}\n",
	} {
		if d := doctor(t, file(t, name, content)); d.code != 0 {
			t.Errorf("by %s:\n%s", name, d)
		}
	}

	admin := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	defer admin.Close() //nolint:errcheck // the test is over
	for _, rules := range [][]any{
		{"node", "on", "resetpass", ">" + secret, "resetchannels", "&other:*", "+subscribe", "+publish"},
		{"least", "on", "resetpass", ">" + secret, "resetchannels", "&clusterchannel:*", "+subscribe", "+publish"},
	} {
		if err := admin.Do(t.Context(), append([]any{"acl", "setuser"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	closed := freeAddress(t)
	for _, s := range []sick{
		{"wrong password", []string{"redis://least:" + secret + "x@" + server.Addr() + "?cluster=c"}, "auth", []string{"WRONGPASS", "password"}},
		{"ACL without channels", []string{"redis://node:" + secret + "@" + server.Addr() + "?cluster=c"}, "acl", []string{"NOPERM", "ACL SETUSER"}},
		{"something else", []string{"redis://" + web.Listener.Addr().String() + "?cluster=c"}, "protocol", []string{"does not speak Redis's protocol"}},
		{"closed port", []string{"redis://" + closed + "?cluster=c"}, "tcp", []string{closed, "nothing listens"}},
		{"no such name", []string{"redis://no-such-host.invalid:6379?cluster=c"}, "name", []string{"no-such-host.invalid", "getent"}},
		{"not encrypted", []string{"rediss://" + server.Addr() + "?cluster=c"}, "tls", []string{"does not speak TLS"}},
		{"no Sentinel", []string{"redis://" + server.Addr() + "?cluster=c&master_name=main"}, "sentinel", []string{"master"}},
	} {
		s.test(t)
	}
	d = doctor(t, "redis://least:"+secret+"@"+server.Addr()+"?cluster=c")
	d.has(t, "output buffer", "skip", "NOPERM")
	d.has(t, "delivery", "ok")
	if err := admin.ConfigSet(t.Context(), "client-output-buffer-limit", "pubsub 1mb 512kb 60").Err(); err != nil {
		t.Fatal(err)
	}
	d = doctor(t, "redis://"+server.Addr()+"?cluster=c")
	d.has(t, "output buffer", "warn", "CONFIG SET")
}

// TestDoctorProxy meets nutcracker, which passes no subscription on.
func TestDoctorProxy(t *testing.T) {
	t.Parallel()
	path := local.Need(t, "nutcracker")
	server := servers.Start(t, servers.Redis(), servers.Options{})
	addr := fmt.Sprintf("127.0.0.1:%d", local.Port(t))
	conf := file(t, "nutcracker.yml", "pool:\n  listen: "+addr+"\n  redis: true\n  servers:\n    - "+server.Addr()+":1\n")
	local.Start(t, local.Spec{
		Path: path, Addr: addr, Data: t.TempDir(), Args: []string{"--conf-file=" + conf, fmt.Sprintf("--stats-port=%d", local.Port(t)), "--stats-addr=127.0.0.1"},
		Ready: func(ctx context.Context, addr string) error {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				err = conn.Close()
			}
			return err
		},
	})
	for _, wire := range []string{"native", "grafana"} {
		sick{wire, []string{"redis://" + addr + "?cluster=c&wire=" + wire}, "pubsub", []string{"proxy", "pub/sub"}}.test(t)
	}
}

func TestDoctorEtcd(t *testing.T) {
	t.Parallel()
	server := servers.Start(t, servers.Etcd(), servers.Options{Args: []string{"--bcrypt-cost", "4", "--quota-backend-bytes", "4194304"}})
	t.Run("beside a member", func(t *testing.T) {
		seat(t, backend.Config{Backend: "etcd", Cluster: "c", Name: "resident", Params: map[string]string{"endpoints": server.Addr()}})
		d := doctor(t, "etcd://"+server.Addr()+"?cluster=c")
		for _, name := range []string{"tcp", "auth", "quota", "compaction", "lease", "clock", "delivery"} {
			d.has(t, name, "ok")
		}
		d.has(t, "members", "ok", "1: resident")
	})
	sick{"something else", []string{"etcd://" + silent(t) + "?cluster=c"}, "auth", []string{"no etcd"}}.test(t)

	client := etcdAdmin(t, server.Addr(), "", "")
	left, err := client.Get(t.Context(), "/clusterchannel/c/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range left.Kvs {
		if strings.Contains(string(kv.Key), "doctor-") {
			t.Errorf("%s is left", kv.Key)
		}
	}
	if _, err := client.Put(t.Context(), "history", "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(t.Context(), left.Header.Revision); err != nil {
		t.Fatal(err)
	}
	doctor(t, "etcd://"+server.Addr()+"?cluster=c").has(t, "compaction", "ok", "compacted away")
	guard(t, client)
	for _, s := range []sick{
		{"wrong password", []string{"etcd://app:" + secret + "x@" + server.Addr() + "?cluster=c"}, "auth", []string{"password", "refuses it", "username"}},
		{"no password", []string{"etcd://" + server.Addr() + "?cluster=c"}, "auth", []string{"asks for a user"}},
		{"no permission", []string{"etcd://other:" + secret + "@" + server.Addr() + "?cluster=c"}, "auth", []string{"grant-permission"}},
	} {
		s.test(t)
	}
	root := etcdAdmin(t, server.Addr(), "root", secret)
	if _, err := root.Get(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	fill := strings.Repeat("x", 1<<20)
	for err = nil; err == nil; {
		_, err = root.Put(t.Context(), "fill", fill)
	}
	d := doctor(t, "etcd://app:"+secret+"@"+server.Addr()+"?cluster=c")
	d.has(t, "lease", "fail", "space", "defrag")
	d = doctor(t, "etcd://root:"+secret+"@"+server.Addr()+"?cluster=c")
	d.has(t, "quota", "fail", "NOSPACE", "etcdctl compact, etcdctl defrag, etcdctl alarm disarm")
	now, err := root.Get(t.Context(), "fill")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range proseCommands(t, "runbook.md", "etcdctl ") {
		args := append(strings.Fields(command), "--endpoints={host}:{port}", "--user=root:"+secret)
		if command == "etcdctl compact" {
			args = append(args, fmt.Sprint(now.Header.Revision))
		}
		server.Exec(t, args...)
	}
	if d = doctor(t, "etcd://app:"+secret+"@"+server.Addr()+"?cluster=c"); d.code != 0 {
		t.Errorf("after what it says:\n%s", d)
	}
}

func etcdAdmin(t *testing.T, addr, user, password string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, DialTimeout: patience, Logger: zap.NewNop(), Username: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// guard turns authentication on. The user "app" may use our prefix, "other"
// nothing.
func guard(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx := t.Context()
	const prefix = "/clusterchannel/"
	for i, step := range []func() error{
		func() error { _, err := client.UserAdd(ctx, "root", secret); return err },
		func() error { _, err := client.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := client.UserAdd(ctx, "other", secret); return err },
		func() error { _, err := client.UserAdd(ctx, "app", secret); return err },
		func() error { _, err := client.RoleAdd(ctx, "app"); return err },
		func() error {
			_, err := client.RoleGrantPermission(ctx, "app", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := client.UserGrantRole(ctx, "app", "app"); return err },
		func() error { _, err := client.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
}

// silent listens and never answers.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestDoctorNATS(t *testing.T) {
	t.Parallel()
	const all = `publish: "clusterchannel.>", subscribe: "clusterchannel.>"`
	user := func(name, permissions string) string {
		return fmt.Sprintf("{user: %s, password: %q, permissions: {%s}}", name, secret, permissions)
	}
	start := func(conf string) string {
		s := servers.Start(t, servers.NATS(), servers.Options{Args: []string{"-c", "{dir}/nats.conf"}, Files: map[string][]byte{"nats.conf": []byte(conf)}})
		return s.Addr()
	}
	users := "authorization { users: [" + strings.Join([]string{
		user("node", all), user("deaf", `publish: "clusterchannel.>", subscribe: "other.>"`), user("mute", `publish: "other.>", subscribe: "clusterchannel.>"`),
	}, ", ") + "] }\n"
	addr, small := start(users), start("max_payload: 400\n")
	as := func(name, at string) []string {
		return []string{"nats://" + name + ":" + secret + "@" + at + "?cluster=c"}
	}
	seat(t, backend.Config{Backend: "nats", Cluster: "c", Name: "resident", Params: map[string]string{"servers": addr, "username": "node", "password": secret}})
	d := doctor(t, as("node", addr)...)
	for _, name := range []string{"tcp", "auth", "permissions", "max_payload", "delivery"} {
		d.has(t, name, "ok")
	}
	d.has(t, "members", "ok", "1: resident")
	tight := start("max_payload: 8192\n")
	doctor(t, "nats://"+tight+"?cluster=c").has(t, "max_payload", "warn", "8", "raise")
	for _, s := range []sick{
		{"no permission to subscribe", as("deaf", addr), "permissions", []string{"clusterchannel.c", "permit"}},
		{"no permission to publish", as("mute", addr), "permissions", []string{"clusterchannel.c", "permit"}},
		{"unknown user", as("nobody", addr), "auth", []string{"credentials"}},
		{"small payload", []string{"nats://" + small + "?cluster=c"}, "max_payload", []string{"400", "raise"}},
		{"something else", []string{"nats://" + silent(t) + "?cluster=c"}, "protocol", []string{"NATS"}},
	} {
		s.test(t)
	}
}

func TestDoctorMemberlist(t *testing.T) {
	t.Parallel()
	key := func(b byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) }
	peer := seat(t, backend.Config{
		Backend: "memberlist", Cluster: "c", Name: "resident", Params: map[string]string{"listen_address": "127.0.0.1:0", "encryption_keys": key(1)},
	}).View().Self().Addr
	with := func(args ...string) []string {
		base := []string{"--cluster.listen-address=127.0.0.1:0", "--cluster.peer=" + peer}
		return append(base, args...)
	}
	right, wrong := "--cluster.param=encryption_keys="+key(1), "--cluster.param=encryption_keys="+key(2)
	d := doctor(t, with("--cluster.label=c", right)...)
	for _, name := range []string{"tcp", "gossip", "udp"} {
		d.has(t, name, "ok", peer)
	}
	d.has(t, "members", "ok", "1: resident")
	d.has(t, "tcp", "ok", "have "+peer+" connect to 127.0.0.1")
	d.has(t, "clock", "ok", peer)
	_, port, err := net.SplitHostPort(peer)
	if err != nil {
		t.Fatal(err)
	}
	beside := []string{"--cluster.listen-address=" + peer, "--cluster.peer=localhost:" + port, "--cluster.label=c", right}
	d = doctor(t, append(beside, "--cluster.peer-name=resident")...)
	d.has(t, "peer", "ok", "the node itself")
	d.has(t, "port", "ok", "the node itself")
	doctor(t, beside...).has(t, "port", "warn", "another name", "resident")
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	other := web.Listener.Addr().String()
	elsewhere := doctor(t, with("--cluster.label=c", "--cluster.advertise-address=203.0.113.7", right, "--timeout=2s")...)
	elsewhere.has(t, "advertise address", "warn", "203.0.113.7", "no interface of this host")
	plain := seat(t, backend.Config{
		Backend: "memberlist", Cluster: "plain", Name: "resident", Params: map[string]string{"listen_address": "127.0.0.1:0"},
	}).View().Self().Addr
	var streams []*netfault.Proxy
	for _, addr := range []string{peer, plain} {
		p, err := netfault.Listen(func() string { return addr })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close() })
		streams = append(streams, p)
	}
	closed := freeAddress(t)
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = packets.Close() })
	halfTaken := packets.LocalAddr().String()
	for _, s := range []sick{
		{"streams alone get through", []string{"--cluster.listen-address=127.0.0.1:0", "--cluster.peer=" + streams[0].Addr(), "--cluster.label=c", right}, "udp", []string{streams[0].Addr(), "no answer", "what is sent to it is lost"}},
		{"and in the clear", []string{"--cluster.listen-address=127.0.0.1:0", "--cluster.peer=" + streams[1].Addr(), "--cluster.label=plain"}, "udp", []string{streams[1].Addr(), "what is sent to it is lost"}},
		{"wrong label", with("--cluster.label=other", right), "gossip", []string{peer, "label mismatch"}},
		{"wrong key", with("--cluster.label=c", wrong), "gossip", []string{peer, "encryption"}},
		{"no key", with("--cluster.label=c"), "gossip", []string{peer, "encrypt"}},
		{"closed port", []string{"--cluster.listen-address=127.0.0.1:0", "--cluster.peer=" + closed}, "tcp", []string{closed, "nothing listens"}},
		{"no such name", []string{"--cluster.listen-address=127.0.0.1:0", "--cluster.peer=no-such-host.invalid:9094"}, "name", []string{"no-such-host.invalid"}},
		{"not our address", with("--cluster.label=c", "--cluster.advertise-address=no-such-interface", right), "advertise address", []string{"no-such-interface"}},
		{"own port taken", []string{"--cluster.listen-address=" + other, "--cluster.peer=" + peer, "--cluster.label=c", right}, "port", []string{other, "no member of this cluster", "ss -lntup"}},
		{"own port taken for packets", []string{"--cluster.listen-address=" + halfTaken, "--cluster.peer=" + peer, "--cluster.label=c", right}, "port", []string{halfTaken, "another program has the port for UDP", "ss -lntup"}},
		{"the way back for streams", with("--cluster.label=c", "--cluster.advertise-address=127.0.0.99:9", right), "tcp", []string{"have " + peer + " connect to 127.0.0.99", "advertise address", "nft list ruleset"}},
		{"answers go elsewhere", with("--cluster.label=c", "--cluster.advertise-address=127.0.0.99:9", right), "udp", []string{"127.0.0.99", "does not arrive there", "advertise address"}},
	} {
		s.test(t)
	}
}

// What the node needs besides the cluster.
func TestDoctorHost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sound := []string{"--cluster.listen-address=", "--storage.path=" + filepath.Join(dir, "data"), "--storage.database=sqlite:" + filepath.Join(dir, "state.db"), "--web.listen-address=127.0.0.1:0"}
	d := doctor(t, sound...)
	if d.code != 0 {
		t.Errorf("exit code %d:\n%s", d.code, d)
	}
	for _, name := range []string{"storage path", "directory", "database", "web address"} {
		d.has(t, name, "ok")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
	node, url := instance(t, "--config.file="+file(t, "am.yml", config("nobody")), "--storage.path=", "--cluster.listen-address=")
	taken := strings.TrimPrefix(url, "http://")
	doctor(t, "--cluster.listen-address=", "--web.listen-address="+taken).has(t, "web address", "ok", "the node itself")
	terminated(t, node)
	for _, s := range []sick{
		{"web address", []string{"--cluster.listen-address=", "--web.listen-address=" + silent(t)}, "web address", []string{"another program", "ss -ltnp"}},
		{"no address of ours", []string{"--cluster.listen-address=", "--web.listen-address=203.0.113.7:9093"}, "web address", []string{"ip address"}},
		{"storage path", []string{"--cluster.listen-address=", "--storage.path=/proc/absent"}, "storage path", []string{"/proc"}},
		{"database", []string{"--cluster.listen-address=", "--storage.database=sqlite:" + filepath.Join(dir, "absent", "state.db")}, "directory", []string{"mkdir -p"}},
	} {
		s.test(t)
	}
}

// TestDoctorHidesWhatIsRepeated meets a server whose errors hold all that it was
// sent.
func TestDoctorHidesWhatIsRepeated(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var answers sync.WaitGroup
	answers.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // the test is over
			}
			answers.Go(func() {
				defer conn.Close() //nolint:errcheck // the client may be gone
				b := make([]byte, 4096)
				for {
					n, err := conn.Read(b)
					if err != nil {
						return
					}
					if _, err := fmt.Fprintf(conn, "-ERR no such command: %q\r\n", b[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		answers.Wait()
	})
	d := doctor(t, "redis://user:"+secret+"@"+l.Addr().String()+"?cluster=c")
	d.has(t, "protocol", "fail", "no such command", "<secret>")
}
