package nats_test

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nkeys"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// file writes a file that only its owner may read.
func file(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func rewrite(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// pair is a key and its texts.
type pair struct {
	nkeys.KeyPair
	public, seed string
}

func newPair(t testing.TB, kind nkeys.PrefixByte) pair {
	t.Helper()
	kp, err := nkeys.CreatePairWithRand(kind, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := kp.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return pair{kp, public, string(seed)}
}

// claim returns signer's statement that subject is of that kind.
func claim(t testing.TB, signer, subject pair, kind map[string]any) string {
	t.Helper()
	return claimUntil(t, signer, subject, kind, time.Time{})
}

// claimUntil returns one that expires, if end is not zero.
func claimUntil(t testing.TB, signer, subject pair, kind map[string]any, end time.Time) string {
	t.Helper()
	kind["version"] = 2
	body := map[string]any{"iss": signer.public, "sub": subject.public, "name": "test", "iat": time.Now().Unix(), "nats": kind}
	if !end.IsZero() {
		body["exp"] = end.Unix()
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	body["jti"] = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
	if raw, err = json.Marshal(body); err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"typ":"JWT","alg":"ed25519-nkey"}`)) + "." + encode(raw)
	signature, err := signer.Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + encode(signature)
}

// creds is a file as nsc writes it.
func creds(jwt, seed string) string {
	return "-----BEGIN NATS USER JWT-----\n" + jwt + "\n------END NATS USER JWT------\n\n" +
		"-----BEGIN USER NKEY SEED-----\n" + seed + "\n------END USER NKEY SEED------\n"
}

// issuer returns the configuration of a server that trusts an account, and what
// makes a JWT of a user of it.
func issuer(t testing.TB) (conf string, userJWT func(u pair, end time.Time) string) {
	t.Helper()
	operator, account := newPair(t, nkeys.PrefixByteOperator), newPair(t, nkeys.PrefixByteAccount)
	limits := map[string]any{"subs": -1, "data": -1, "payload": -1}
	accountLimits := map[string]any{"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "conn": -1, "leaf": -1, "wildcards": true}
	conf = "operator: " + claim(t, operator, operator, map[string]any{"type": "operator"}) + "\nresolver: MEMORY\nresolver_preload: {" +
		account.public + ": " + claim(t, operator, account, map[string]any{"type": "account", "limits": accountLimits}) + "}\n"
	return conf, func(u pair, end time.Time) string {
		user := map[string]any{"type": "user", "subs": -1, "data": -1, "payload": -1, "pub": map[string]any{}, "sub": map[string]any{}, "limits": limits}
		return claimUntil(t, account, u, user, end)
	}
}

// TestCredentials: each kind of credentials that fits opens, and each that does
// not is an error that names the key and shows no secret.
func TestCredentials(t *testing.T) {
	t.Parallel()
	user, stranger := newPair(t, nkeys.PrefixByteUser), newPair(t, nkeys.PrefixByteUser)
	jwtConf, userJWT := issuer(t)

	for name, c := range map[string]struct {
		conf      string
		good, bad map[string]string
		key       string
	}{
		"username": {
			`authorization { user: node, password: good }`,
			map[string]string{"username": "node", "password": "good"},
			map[string]string{"username": "node", "password": conformance.Secret}, "username",
		},
		"token": {
			`authorization { token: good }`,
			map[string]string{"token": "good"}, map[string]string{"token": conformance.Secret}, "token",
		},
		"none where one is asked for": {
			`authorization { token: good }`,
			map[string]string{"token": "good"}, map[string]string{}, "username",
		},
		"nkey": {
			`authorization { users: [{nkey: ` + user.public + `}] }`,
			map[string]string{"nkey_file": file(t, user.seed+"\n")}, map[string]string{"nkey_file": file(t, stranger.seed)}, "nkey_file",
		},
		"nkey where the server knows none": {
			`authorization { token: good }`,
			map[string]string{"token": "good"}, map[string]string{"nkey_file": file(t, stranger.seed)}, "nkey_file",
		},
		"creds": {
			jwtConf,
			map[string]string{"creds_file": file(t, creds(userJWT(user, time.Time{}), user.seed))},
			map[string]string{"creds_file": file(t, creds(userJWT(user, time.Time{}), stranger.seed))}, "creds_file",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startLocal(t, c.conf)
			params := func(m map[string]string) map[string]string {
				m["servers"] = s.Addr()
				return m
			}
			a, b := open(t, "a", params(c.good)), open(t, "b", params(c.good))
			testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
			n, err := tryOpen(t, "bad", params(c.bad))
			if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), c.key) || !strings.Contains(err.Error(), "refuses") {
				t.Fatalf("wrong credentials: %v, want ErrConfig that names %s", err, c.key)
			}
			for _, secret := range []string{conformance.Secret, user.seed, stranger.seed} {
				if strings.Contains(err.Error()+n.log.String(), secret) {
					t.Errorf("a secret is shown: %v\n%s", err, n.log)
				}
			}
		})
	}
}

// TestNkeyRotation: a new seed in the file is used without a restart.
func TestNkeyRotation(t *testing.T) {
	t.Parallel()
	before, after := newPair(t, nkeys.PrefixByteUser), newPair(t, nkeys.PrefixByteUser)
	conf := func(p pair) string { return `authorization { users: [{nkey: ` + p.public + `}] }` }
	s := startLocal(t, conf(before), "seed", before.seed)
	a, b := open(t, "a", s.at("nkey_file", s.path("seed"))), open(t, "b", s.at("nkey_file", s.path("seed")))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
	s.reload(t, conf(after))
	testkit.Eventually(t, 20*time.Second, func() error { return detachedSaying(a, "nkey_file") })
	s.write(t, "seed", after.seed)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
}

// TestCredsExpire: a file of credentials is read again when they have expired, and
// one that is replaced in time costs no more than a reconnect.
func TestCredsExpire(t *testing.T) {
	t.Parallel()
	conf, userJWT := issuer(t)
	user := newPair(t, nkeys.PrefixByteUser)
	s := startLocal(t, conf)
	issue := func(end time.Time) { s.write(t, "creds", creds(userJWT(user, end), user.seed)) }
	issue(time.Now().Add(2 * time.Second))
	a, b := open(t, "a", s.at("creds_file", s.path("creds")), patient), open(t, "b", s.at("creds_file", s.path("creds")), patient)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
	examine(t, s.at("creds_file", s.path("creds"))).Say(t, "credentials", driver.Warn, "they expire on")
	for _, n := range []*node{a, b} {
		testkit.Eventually(t, 20*time.Second, func() error { return detachedSaying(n, "refuses the credentials") })
		n.write(t, n.name)
	}
	examine(t, s.at("creds_file", s.path("creds"))).Say(t, "credentials", driver.Fail, "they have expired")
	issue(time.Now().Add(2 * time.Second))
	testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(a, b), hold(2, a, b)) })

	issue(time.Time{})
	examine(t, s.at("creds_file", s.path("creds"))).Say(t, "credentials", driver.OK, "for ever")
	testkit.Eventually(t, 20*time.Second, func() error {
		if n := strings.Count(a.log.String(), "attached to the cluster again"); n < 2 {
			return fmt.Errorf("a was attached again %d times; the second time is after the expiry", n)
		}
		return agree(a, b)
	})
}

// TestURL: the parts of a URL are the parameters.
func TestURL(t *testing.T) {
	t.Parallel()
	s := startLocal(t, `authorization { user: node, password: "p@ss" }`)
	var nodes []*node
	for _, name := range []string{"a", "b"} {
		c, err := backend.ParseURL(fmt.Sprintf("nats://node:p%%40ss@%s?cluster=test&name=%s", s.Addr(), name))
		if err != nil {
			t.Fatal(err)
		}
		n := open(t, c.Name, c.Params)
		nodes = append(nodes, n)
	}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	channel, err := backend.OpenURL(t.Context(), "nats://node:wrong@"+s.Addr()+"?cluster=test&name=c")
	if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), "username") {
		t.Errorf("OpenURL with a wrong password: %v, %v, want ErrConfig that names username", channel, err)
	}
}
