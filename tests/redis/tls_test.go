package redis_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// secureLab is a server that speaks TLS only and wants certificates of its
// clients.
type secureLab struct {
	*servers.Server
	old, new *testca.Authority
	admin    *goredis.Client
	dir      string
}

func newSecureLab(t *testing.T) *secureLab {
	t.Helper()
	l := &secureLab{old: testca.New(t), new: testca.New(t), dir: t.TempDir()}
	files := map[string][]byte{"ca-old": l.old.PEM, "ca-new": l.new.PEM, "ca-both": append(bytes.Clone(l.old.PEM), l.new.PEM...)}
	files["cert-old"], files["key-old"] = l.old.Issue(t, "redis.test")
	files["cert-new"], files["key-new"] = l.new.Issue(t, "redis.test")
	pair, err := tls.X509KeyPair(l.new.Issue(t))
	if err != nil {
		t.Fatal(err)
	}
	secure := &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true}
	ready := func(ctx context.Context, addr string) error {
		c := goredis.NewClient(&goredis.Options{Addr: addr, TLSConfig: secure, MaxRetries: -1, DialerRetries: 1})
		defer c.Close() //nolint:errcheck // the answer counts
		return c.Ping(ctx).Err()
	}
	l.Server = servers.Start(t, servers.Redis(), servers.Options{Files: files, Ready: ready, Args: []string{
		"--port", "0", "--tls-port", "{port}", "--tls-cert-file", "{dir}/cert-old", "--tls-key-file", "{dir}/key-old",
		"--tls-ca-cert-file", "{dir}/ca-both", "--tls-auth-clients", "yes",
	}})
	l.admin = goredis.NewClient(&goredis.Options{Addr: l.Addr(), TLSConfig: secure, MaxRetries: -1})
	t.Cleanup(func() {
		if err := l.admin.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// set makes the server use other files.
func (l *secureLab) set(t *testing.T, files map[string]string) {
	t.Helper()
	args := []any{"config", "set"}
	for option, file := range files {
		now, err := l.admin.ConfigGet(t.Context(), option).Result()
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, option, filepath.Join(filepath.Dir(now[option]), file))
	}
	do(t, l.admin, args...)
}

// issue writes the files of a client, signed by a.
func (l *secureLab) issue(t *testing.T, a *testca.Authority) {
	t.Helper()
	cert, key := a.Issue(t)
	write(t, filepath.Join(l.dir, "cert"), cert)
	write(t, filepath.Join(l.dir, "key"), key)
}

func (l *secureLab) params() map[string]string {
	return map[string]string{
		"address": l.Addr(), "tls": "true", "tls_ca_file": filepath.Join(l.dir, "ca"),
		"tls_cert_file": filepath.Join(l.dir, "cert"), "tls_key_file": filepath.Join(l.dir, "key"),
	}
}

// TestRotation changes the certificates of server and clients, and both their
// authorities, while nodes run.
func TestRotation(t *testing.T) {
	t.Parallel()
	l := newSecureLab(t)
	write(t, filepath.Join(l.dir, "ca"), l.old.PEM)
	l.issue(t, l.old)
	nodes := trio(t, l.params())

	l.set(t, map[string]string{"tls-cert-file": "cert-new", "tls-key-file": "key-new", "tls-ca-cert-file": "ca-new"})
	do(t, l.admin, "client", "kill", "type", "normal", "skipme", "yes")
	do(t, l.admin, "client", "kill", "type", "pubsub")
	nodes[0].set.add("during the rotation")
	testkit.Eventually(t, 20*time.Second, func() error { return detachedFor(nodes, "tls_ca_file") })

	write(t, filepath.Join(l.dir, "ca"), l.new.PEM)
	testkit.Eventually(t, 20*time.Second, func() error { return detachedFor(nodes, "certificate") })
	l.issue(t, l.new)
	agree(t, 5*time.Second, nodes...)
	hold(t, 5*time.Second, 1, nodes...)
}

func detachedFor(nodes []*member, reason string) error {
	for _, n := range nodes {
		if v := n.View(); v.Status != backend.Detached || v.Err == nil || !strings.Contains(v.Err.Error(), reason) {
			return &notFor{n.name, reason, v.Err}
		}
	}
	return nil
}

type notFor struct {
	node, reason string
	err          error
}

func (e *notFor) Error() string {
	text := e.node + " is not detached for " + e.reason
	if e.err != nil {
		text += ", but: " + e.err.Error()
	}
	return text
}

func TestTLS(t *testing.T) {
	t.Parallel()
	l := newSecureLab(t)
	write(t, filepath.Join(l.dir, "ca"), l.old.PEM)
	write(t, filepath.Join(l.dir, "ca-of-others"), l.new.PEM)
	l.issue(t, l.old)
	with := func(key, value string) map[string]string {
		p := l.params()
		if p[key] = value; value == "" {
			delete(p, key)
		}
		return p
	}
	nodes := []*member{
		open(t, "a", l.params()), open(t, "b", with("tls_server_name", "redis.test")), open(t, "c", with("tls_min_version", "1.3")),
		open(t, "d", with("tls_ca_file", filepath.Join(l.dir, "ca-of-others")), func(c *backend.Config) { c.Params["tls_skip_verify"] = "true" }),
		open(t, "e", with("tls", ""), func(c *backend.Config) { c.Backend = "rediss" }),
		open(t, "f", with("tls_cipher_suites", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")),
	}
	agree(t, 5*time.Second, nodes...)
	nodes[3].set.add("encrypted")
	hold(t, 5*time.Second, 1, nodes...)

	refused(t, with("tls_ca_file", filepath.Join(l.dir, "ca-of-others")), "tls_ca_file", "unknown authority")
	refused(t, with("tls_server_name", "other.test"), "tls_server_name", "other.test")
	refused(t, with("tls_key_file", filepath.Join(l.dir, "ca")), "tls_key_file")
	plain := servers.Start(t, servers.Redis(), servers.Options{})
	refusedBy(t, driver.ErrConfig, with("address", plain.Addr()), nil, "tls", "does not speak TLS") // Redis waits for the end of a line, so it takes a while
	refused(t, address(l.Server), "tls", "set it to true")
}
