package memberlist_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// What users get wrong in addresses is refused by key, and shows no password.
func TestBadAddresses(t *testing.T) {
	for key, values := range map[string][]string{
		"listen_address": {
			"http://u:secretword@127.0.0.1:9094", "u:secretword@127.0.0.1:9094", "127.0.0.1", "127.0.0.1:70000", "127.0.0.1:-1", "127.0.0.1:port",
			"[::1", "::1:9094", "[::1]", "a:b:9094", "127.0.0.1:9094,127.0.0.1:9095", "127.0.0.1:9094/path", "127.0.0.1:9094?password=secretword",
			"nobody.invalid:9094", "[fe80::1%nowhere]:9094",
		},
		"advertise_address": {
			"0.0.0.0", "[::]:9094", "u:secretword@10.0.0.1:9094", "http://u:secretword@10.0.0.1", "10.0.0.1:0", "10.0.0.1:70000", "10.0.0.1:port",
			"[fd00::1", "10.0.0.1,10.0.0.2", "nobody.invalid", "10.0.0.1:9094?password=secretword",
		},
		"peers": {
			"redis://u:secretword@h:9094", "u:secretword@h:9094", "h", "h:0", "h:70000", "h:-1", "h:port", "h:9094/path", "h:9094?password=secretword",
			"::1:9094", "[::1]", "fd00::1", "a:9094,b", "a:9094,,b:9094x", "a b:9094", ":9094",
		},
	} {
		for _, value := range values {
			began := time.Now()
			params := map[string]string{"listen_address": "127.0.0.1:0"}
			params[key] = value
			err := backend.Check(backend.Config{Backend: "memberlist", Cluster: "c", Params: params})
			if err == nil && (key == "listen_address" || key == "advertise_address") {
				_, err = backend.Open(t.Context(), backend.Config{Backend: "memberlist", Cluster: "c", Name: "a", Params: params})
			}
			switch {
			case !errors.Is(err, backend.ErrConfig) && !errors.Is(err, backend.ErrUnavailable):
				t.Errorf("%s=%q: %v, want it refused", key, value, err)
			case !strings.Contains(err.Error(), key):
				t.Errorf("%s=%q: %v, which does not name the key", key, value, err)
			case strings.Contains(err.Error(), "secretword"):
				t.Errorf("%s=%q: %v, which shows the password", key, value, err)
			}
			if d := time.Since(began); d > 3*time.Second {
				t.Errorf("%s=%q: refused after %v", key, value, d)
			}
		}
	}
}

func TestGoodAddresses(t *testing.T) {
	for key, values := range map[string][]string{
		"listen_address": {"127.0.0.1:9094", ":9094", "[::]:9094", "[::1]:9094", "0.0.0.0:0", "localhost:9094", "[::ffff:127.0.0.1]:9094"},
		"peers":          {"h:9094", "[::1]:9094", "[fd00::1]:9094", "a:9094, b:9094", "127.0.0.1:65535", "[::ffff:127.0.0.1]:9094"},
	} {
		for _, value := range values {
			if err := backend.Check(backend.Config{Backend: "memberlist", Cluster: "c", Params: map[string]string{key: value}}); err != nil {
				t.Errorf("%s=%q: %v", key, value, err)
			}
		}
	}
}

// A pair that cannot be used is refused by key, and by file.
func TestBadCertificates(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, dir, text string) string{
		"a certificate without its key": func(_ *testing.T, _, text string) string { return without(text, "key_file") },
		"a key without its certificate": func(_ *testing.T, _, text string) string { return without(text, "cert_file") },
		"no file": func(t *testing.T, dir, text string) string {
			for _, f := range pem(t, dir) {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
			return text
		},
		"garbage": func(t *testing.T, dir, text string) string {
			for _, f := range pem(t, dir) {
				if err := os.WriteFile(f, []byte("secretword"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			return text
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := testca.GossipFile(t, dir)
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(change(t, dir, string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = backend.Open(t.Context(), backend.Config{
				Backend: "memberlist", Cluster: "c", Name: "a", Params: map[string]string{"listen_address": "127.0.0.1:0", "tls_config_file": file},
			})
			if !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), "tls_config_file") || strings.Contains(err.Error(), "secretword") {
				t.Errorf("%v, want ErrConfig that names tls_config_file", err)
			}
		})
	}
}

// An own certificate that has expired is named at once, and while it is so.
func TestOwnCertificateExpired(t *testing.T) {
	dir := t.TempDir()
	file := testca.GossipFile(t, dir)
	put := func(until time.Time) {
		t.Helper()
		cert, key := testca.New(t).IssueUntil(t, until, "gossip.test")
		for name, content := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(time.Now().Add(-time.Minute))
	channel, err := backend.Open(t.Context(), backend.Config{
		Backend: "memberlist", Cluster: "c", Name: "a", Logger: slog.New(slog.DiscardHandler),
		Params: map[string]string{"listen_address": "127.0.0.1:0", "tls_config_file": file, "peers_resolve_interval": "50ms"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = channel.Close(context.Background()) })
	until := func(told bool) {
		t.Helper()
		testkit.Eventually(t, 10*time.Second, func() error {
			troubles := channel.(backend.Inspector).Inspect().Troubles
			if got := slices.ContainsFunc(troubles, func(x backend.Trouble) bool {
				return strings.Contains(x.What, "certificate has expired") && strings.Contains(x.Err.Error(), "tls_server_config")
			}); got != told {
				return fmt.Errorf("troubles %v", troubles)
			}
			return nil
		})
	}
	until(true)
	put(time.Now().Add(time.Hour))
	until(false)
}

func without(text, key string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.Contains(line, key) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func pem(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.pem"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no PEM files in %s: %v", dir, err)
	}
	return files
}
