package memberlist

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/testca"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

func key(b byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) }

const clusterKey = "(cluster)" // for apart: no parameter, but the cluster's name

// apart checks that two nodes do not meet, and that each names the cause.
func apart(t *testing.T, a, b map[string]string, cause string) {
	t.Helper()
	first := start(t, spec{name: "a", cluster: "c", params: a})
	b["peers"] = first.addr
	cluster := "c"
	if other, ok := b[clusterKey]; ok {
		cluster = other
		delete(b, clusterKey)
	}
	second := start(t, spec{name: "b", cluster: cluster, params: b})
	testkit.Eventually(t, 5*time.Second, func() error {
		if l := second.lastLink(); !strings.Contains(l, cause) || !strings.Contains(l, first.addr) {
			return fmt.Errorf("link %q, want it to say %q", l, cause)
		}
		return nil
	})
	if v := first.view() + second.view(); v != "ab" {
		t.Errorf("the views are %q, want each node alone", v)
	}
}

func TestLabelMismatchIsNamed(t *testing.T) {
	apart(t, map[string]string{"label": "x"}, map[string]string{"label": "y"}, "cluster label mismatch")
	apart(t, map[string]string{}, map[string]string{"label": ""}, "cluster label mismatch")
}

func TestEmptyLabel(t *testing.T) {
	a := start(t, spec{name: "a", cluster: "one", params: map[string]string{"label": ""}})
	b := start(t, spec{name: "b", cluster: "one", params: map[string]string{"label": "", "peers": a.addr}})
	agree(t, a, b)
}

// Two clusters with one label share nobody, whoever knows of both, and each is told
// why by name.
func TestOneLabelForTwoClusters(t *testing.T) {
	between := newStranger(t, "", 100*time.Millisecond)
	peers := map[string]string{"label": "", "peers": between.LocalNode().Address(), "push_pull_interval": "100ms"}
	one := start(t, spec{name: "a", cluster: "one", params: peers, state: []byte("state of one")})
	two := start(t, spec{name: "b", cluster: "two", params: peers, state: []byte("state of two")})
	lists := func() error {
		if v := one.view() + "/" + two.view(); v != "01STRANGER a/01STRANGER b" {
			return fmt.Errorf("views %q", v)
		}
		return nil
	}
	testkit.Eventually(t, 10*time.Second, lists)
	direct := start(t, spec{name: "c", cluster: "two", params: map[string]string{"label": "", "peers": one.addr + "," + two.addr}})
	testkit.Eventually(t, 10*time.Second, func() error {
		if v := two.view() + "/" + direct.view(); v != "01STRANGER b c/01STRANGER b c" {
			return fmt.Errorf("views %q", v)
		}
		return nil
	})
	always(t, time.Second, func() error {
		if v := one.view(); v != "01STRANGER a" {
			return fmt.Errorf("a of the other cluster lists %q", v)
		}
		for n, other := range map[*testNode]string{one: "state of two", two: "state of one", direct: "state of one"} {
			n.mu.Lock()
			defer n.mu.Unlock()
			if slices.ContainsFunc(n.states, func(s []byte) bool { return bytes.Contains(s, []byte(other)) }) {
				return fmt.Errorf("%s was given the %s", n.self.Name, other)
			}
		}
		return nil
	})
	for _, n := range []*testNode{one, direct} {
		if !slices.ContainsFunc(n.calls(), func(c string) bool {
			return strings.HasPrefix(c, "reject cluster") && strings.Contains(c, "the cluster's name is another")
		}) {
			t.Errorf("%s was not told of the other cluster", n.self.Name)
		}
	}
	apart(t, map[string]string{"label": "same"}, map[string]string{"label": "same", clusterKey: "other"}, "cluster label mismatch")
}

func TestWrongKeyIsNamed(t *testing.T) {
	apart(t, map[string]string{"encryption_keys": key(1)}, map[string]string{"encryption_keys": key(2)}, "wrong encryption key")
	apart(t, map[string]string{"encryption_keys": key(1)}, map[string]string{}, "encrypt")
	apart(t, map[string]string{}, map[string]string{"encryption_keys": key(1)}, "encrypt")
}

func TestEncryptionRollout(t *testing.T) {
	steps := []map[string]string{
		{},
		{"encryption_keys": key(1), "encryption_verify_incoming": "false", "encryption_verify_outgoing": "false"},
		{"encryption_keys": key(1), "encryption_verify_incoming": "false"},
		{"encryption_keys": key(1)},
		{"encryption_keys": key(1) + "," + key(2)},
		{"encryption_keys": key(2) + "," + key(1)},
		{"encryption_keys": key(2)},
	}
	for i := range steps[1:] {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			a := start(t, spec{name: "a", cluster: "c", params: steps[i]})
			next := map[string]string{"peers": a.addr}
			for k, v := range steps[i+1] {
				next[k] = v
			}
			b := start(t, spec{name: "b", cluster: "c", params: next})
			agree(t, a, b)
			for _, size := range []int{10, 1300, 100_000} {
				frame := bytes.Repeat([]byte{0x0a}, size)
				for _, n := range [][2]*testNode{{a, b}, {b, a}} {
					if err := n[0].Broadcast(t.Context(), frame); err != nil {
						t.Fatal(err)
					}
					testkit.Eventually(t, 5*time.Second, func() error {
						if n[1].got(frame) == 0 {
							return fmt.Errorf("no frame of %d bytes", size)
						}
						return nil
					})
				}
			}
		})
	}
}

func TestGarbageOnThePort(t *testing.T) {
	nodes := startAll(t, spec{cluster: "c"}, "a", "b")
	udp, err := net.Dial("udp", nodes[0].addr)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close() //nolint:errcheck // only written to
	junk := make([]byte, 1000)
	for i := range 300 {
		if _, err := rand.Read(junk); err != nil {
			t.Fatal(err)
		}
		junk[0] = byte(i)
		if i%3 == 0 { // past the label, so that what is behind sees it
			copy(junk, "\xf4\x01c")
			junk[3] = byte(i)
		}
		_, _ = udp.Write(junk[:1+i*3])
		conn, err := net.Dial("tcp", nodes[0].addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write(junk[:1+i*3])
		_ = conn.Close()
	}
	frame := []byte("\x0aafter the garbage")
	if err := nodes[1].Broadcast(t.Context(), frame); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 5*time.Second, func() error {
		if nodes[0].got(frame) == 0 {
			return errors.New("a has no frame")
		}
		return nil
	})
	agree(t, nodes...)
	if n := strings.Count(nodes[0].logs.String(), "level=WARN"); n > 100 {
		t.Errorf("600 pieces of garbage made %d lines of log", n)
	}
}

func gossipFile(t *testing.T) string { return testca.GossipFile(t, t.TempDir()) }

func TestTLS(t *testing.T) {
	params := map[string]string{"tls_config_file": gossipFile(t)}
	nodes := startAll(t, spec{cluster: "c", params: params}, "a", "b", "c")
	for _, size := range []int{10, 1300, 1 << 20} {
		frame := bytes.Repeat([]byte{0x0a}, size)
		if err := nodes[0].Broadcast(t.Context(), frame); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, 10*time.Second, func() error {
			for _, n := range nodes[1:] {
				if n.got(frame) == 0 {
					return fmt.Errorf("%s has no frame of %d bytes", n.self.Name, size)
				}
			}
			return nil
		})
	}
	began := time.Now()
	nodes[2].crash()
	agree(t, nodes[:2]...)
	t.Logf("a crash was seen by all after %v", time.Since(began).Round(time.Millisecond))
	nodes[1].stop(t)
	testkit.Eventually(t, time.Second, func() error {
		if v := nodes[0].view(); v != "a" {
			return fmt.Errorf("after a leave a lists %q", v)
		}
		return nil
	})
}

// Another authority, with its pairs, takes the place of the first while the nodes run:
// they know who comes with it, whichever side connects.
func TestTLSAuthorityIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	params := map[string]string{"tls_config_file": testca.GossipFile(t, dir)}
	nodes := startAll(t, spec{cluster: "c", params: params}, "a", "b")
	testca.GossipFile(t, dir)
	peers := map[string]string{"tls_config_file": gossipFileLike(t, dir), "peers": nodes[0].addr}
	agree(t, append(nodes, start(t, spec{name: "c", cluster: "c", params: peers}))...)
}

// gossipFileLike is a copy of the files in dir, for a node of another host.
func gossipFileLike(t *testing.T, dir string) string {
	t.Helper()
	other := t.TempDir()
	if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(other, "tls.yml")
}

func TestTLSOnOneSideIsNamed(t *testing.T) {
	apart(t, map[string]string{"tls_config_file": gossipFile(t)}, map[string]string{}, "TLS")
	apart(t, map[string]string{}, map[string]string{"tls_config_file": gossipFile(t)}, "TLS")
}

// A peer's certificate that cannot be trusted is named as what it is, with the key.
func TestPeersCertificateIsNamed(t *testing.T) {
	for what, c := range map[string]struct {
		until time.Time
		name  string
		other bool // authority
		says  string
	}{
		"of another authority": {time.Now().Add(time.Hour), "gossip.test", true, "unknown authority"},
		"for another name":     {time.Now().Add(time.Hour), "another.test", false, "another.test, not gossip.test"},
		"expired":              {time.Now().Add(-time.Minute), "gossip.test", false, "expired"},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			file, ca := testca.GossipFile(t, dir), testca.New(t)
			put := func(until time.Time, name string) string {
				t.Helper()
				cert, key := ca.IssueUntil(t, until, name)
				for name, content := range map[string][]byte{"cert.pem": cert, "key.pem": key, "ca.pem": ca.PEM} {
					if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				return gossipFileLike(t, dir)
			}
			own := put(time.Now().Add(time.Hour), "gossip.test")
			if c.other {
				ca = testca.New(t)
			}
			put(c.until, c.name)
			apart(t, map[string]string{"tls_config_file": file}, map[string]string{"tls_config_file": own}, c.says)
			apart(t, map[string]string{"tls_config_file": file}, map[string]string{"tls_config_file": own}, "tls_config_file")
		})
	}
}
