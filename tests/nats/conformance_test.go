package nats_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

// addrs returns the address of each server of s, which may be a cluster.
func addrs(s conformance.Server) []string {
	if c, ok := s.(*servers.Cluster); ok {
		return c.Addrs()
	}
	return []string{s.Addr()}
}

// stranger is a client that is no node.
func stranger(t testing.TB, s conformance.Server) *nats.Conn {
	return dial(t, addrs(s)[0], nats.Name("stranger"))
}

func inject(t testing.TB, s conformance.Server, cluster string, frame []byte) {
	nc := stranger(t, s)
	if len(frame) > int(nc.MaxPayload()) {
		frame = frame[:nc.MaxPayload()]
	}
	if err := nc.Publish(subject(cluster), frame); err != nil {
		t.Errorf("inject: %v", err)
	}
	if err := nc.Flush(); err != nil {
		t.Errorf("inject: %v", err)
	}
}

// foreign makes a stranger subscribe to subjects near that of cluster.
func foreign(t testing.TB, s conformance.Server, cluster string) func() error {
	near := []string{"clusterchannel", subject(cluster) + ".x.y", subject(cluster + "x"), "other." + cluster, cluster}
	nc := stranger(t, s)
	var subs []*nats.Subscription
	for _, name := range near {
		sub, err := nc.SubscribeSync(name)
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

func residue(t testing.TB, s conformance.Server, cluster string) (left []string) {
	for _, addr := range addrs(s) {
		names, err := subscribed(dial(t, addr, nats.UserInfo("sys", "sys")), cluster)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, names...)
	}
	return left
}

func TestConformance(t *testing.T) {
	conformance.Run(t, harness(t, 0, func(t testing.TB) conformance.Server { return start(t, base) }))
}

// TestConformanceOnThreeServers puts each node at the next server of a cluster.
// Three servers handle each frame here, so fewer checks run at a time.
func TestConformanceOnThreeServers(t *testing.T) {
	conformance.Run(t, harness(t, 2, func(t testing.TB) conformance.Server { return startCluster(t) }))
}

func harness(t *testing.T, parallel int, server func(testing.TB) conformance.Server) conformance.Harness {
	t.Helper()
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte(conformance.Secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return conformance.Harness{
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
		Inject:  inject,
		Foreign: foreign,
		Residue: residue,
	}
}
