package nats_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
)

// lab is the servers that the basic checks share, and strangers on them.
type lab struct {
	mu  sync.Mutex
	app *nats.Conn
	sys []*nats.Conn // one for each server
}

// settle puts strangers on the first servers of a run.
func (l *lab) settle(t testing.TB, addrs ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.app != nil {
		return
	}
	l.app = dial(t, addrs[0], nats.Name("stranger"))
	for _, addr := range addrs {
		l.sys = append(l.sys, dial(t, addr, nats.UserInfo("sys", "sys")))
	}
}

func (l *lab) inject(t testing.TB, cluster string, frame []byte) {
	if len(frame) > int(l.app.MaxPayload()) {
		frame = frame[:l.app.MaxPayload()]
	}
	if err := l.app.Publish(subject(cluster), frame); err != nil {
		t.Errorf("inject: %v", err)
	}
	if err := l.app.Flush(); err != nil {
		t.Errorf("inject: %v", err)
	}
}

// foreign has a stranger hear subjects near that of cluster.
func (l *lab) foreign(t testing.TB, cluster string) func() error {
	near := []string{"clusterchannel", subject(cluster) + ".x", subject(cluster + "x"), "other." + cluster, cluster}
	var subs []*nats.Subscription
	for _, s := range near {
		sub, err := l.app.SubscribeSync(s)
		if err != nil {
			t.Fatal(err)
		}
		subs = append(subs, sub)
	}
	return func() error {
		for i, sub := range subs {
			if m, err := sub.NextMsg(time.Millisecond); err == nil {
				return fmt.Errorf("%q was sent %q", near[i], m.Data)
			}
			if err := sub.Unsubscribe(); err != nil {
				return fmt.Errorf("the subscription to %q is gone: %w", near[i], err)
			}
		}
		return nil
	}
}

func (l *lab) residue(t testing.TB, cluster string) (left []string) {
	for _, sys := range l.sys {
		names, err := subscribed(sys, cluster)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, names...)
	}
	return left
}

func TestConformance(t *testing.T) {
	l := &lab{}
	l.run(t, 0, func(t testing.TB) conformance.Server {
		s := start(t, base)
		l.settle(t, s.Addr())
		return s
	})
}

// TestConformanceOnThreeServers has each node at the next server of a cluster. A
// frame is handled by three servers here, so that fewer checks run at a time.
func TestConformanceOnThreeServers(t *testing.T) {
	l := &lab{}
	l.run(t, 2, func(t testing.TB) conformance.Server {
		c := startCluster(t)
		l.settle(t, c.Addrs()...)
		return c
	})
}

func (l *lab) run(t *testing.T, parallel int, server func(testing.TB) conformance.Server) {
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte(conformance.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	conformance.Run(t, conformance.Harness{
		Backend:  "nats",
		Server:   server,
		Parallel: parallel,
		Params: func(_ testing.TB, n conformance.Node) map[string]string {
			return map[string]string{"servers": n.Server}
		},
		Bad: map[string]map[string]string{
			"server":                            {"server": "127.0.0.1:4222"},
			"servers":                           {"servers": "127.0.0.1:4222:1"},
			"servers of none":                   {"servers": ""},
			"servers of another scheme":         {"servers": "http://127.0.0.1:4222"},
			"servers with a password":           {"servers": "nats://me:" + conformance.Secret + "@127.0.0.1:4222"},
			"prefix":                            {"prefix": "a.*"},
			"prefix with a blank":               {"prefix": "a b"},
			"prefix of the system":              {"prefix": "$SYS"},
			"password":                          {"password": conformance.Secret},
			"username":                          {"username": "me"},
			"token":                             {"username": "me", "password": "x", "token": conformance.Secret},
			"nkey_file":                         {"nkey_file": secretFile},
			"nkey_file that is not there":       {"nkey_file": "/does/not/exist"},
			"creds_file":                        {"creds_file": secretFile},
			"creds_file that is not there":      {"creds_file": "/does/not/exist"},
			"tls":                               {"tls": "maybe"},
			"tls_ca_file":                       {"tls": "true", "tls_ca_file": secretFile},
			"tls_ca_file without tls":           {"tls_ca_file": "ca.pem"},
			"tls_cert_file":                     {"tls": "true", "tls_cert_file": secretFile, "tls_key_file": secretFile},
			"tls_cert_file alone":               {"tls": "true", "tls_cert_file": "cert.pem"},
			"tls_key_file":                      {"tls": "true", "tls_key_file": "key.pem"},
			"tls_min_version":                   {"tls": "true", "tls_min_version": "1.0"},
			"tls_skip_verify":                   {"tls_skip_verify": "true"},
			"password given where token is too": {"token": "x", "password": conformance.Secret},
		},
		// Longer than the suite's own: a container takes a second or two to come back,
		// and a machine that is busy with it delays heartbeats.
		Timing:  conformance.Timing{Channel: backend.Timing{Heartbeat: 250 * time.Millisecond, Grace: 5 * time.Second}},
		Inject:  l.inject,
		Foreign: l.foreign,
		Residue: l.residue,
	})
}
