package command_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	local "github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testca"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/-/ready":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/-/hanging":
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"healthy":   {[]string{server.URL + "/-/healthy"}, 0, ""},
		"not ready": {[]string{server.URL + "/-/ready"}, 1, "503"},
		"hanging":   {[]string{"--timeout=100ms", server.URL + "/-/hanging"}, 1, "deadline"},
		"nobody":    {[]string{"http://127.0.0.1:1/-/healthy"}, 1, "refused"},
		"no URL":    {[]string{"::"}, 2, "health"},
		"nothing":   {[]string{"--pid=0"}, 1, "give the URL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := run(t, append([]string{"health"}, c.args...)...)
			if code := p.exitCode(t, patience); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if out := p.stderr.String(); !strings.Contains(out, c.says) || c.says == "" && out != "" {
				t.Errorf("it says %q, want %q", out, c.says)
			}
		})
	}
}

// Without a URL the node of a process is asked, however its API is served.
func TestHealthOfAProcess(t *testing.T) {
	t.Parallel()
	ca := testca.New(t)
	cert, key := ca.IssueUntil(t, time.Now().Add(time.Hour))
	conf := file(t, "alertmanager.yml", config("nobody"))
	web := func(text string) string {
		dir := t.TempDir()
		for name, content := range map[string]string{"cert.pem": string(cert), "key.pem": string(key), "web.yml": text} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return filepath.Join(dir, "web.yml")
	}
	const (
		encrypted = "tls_server_config: {cert_file: cert.pem, key_file: key.pem}\n"
		users     = "basic_auth_users: {alice: $2y$10$mDwo.lAisC94iLAyP81MCesa29IzH37oigHC/42V2pdJlUprsJPze}\n"
	)
	mutual := func(versions string) string {
		return "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: cert.pem, client_auth_type: RequireAndVerifyClientCert" + versions + "}\n"
	}
	sound, wrong := file(t, "sound.yml", "basic_auth: {username: alice, password: alice123}\ntls_config: {ca_file: "+file(t, "ca.pem", string(ca.PEM))+"}\n"),
		file(t, "wrong.yml", "basic_auth: {username: alice, password: wrong}\n")
	for name, c := range map[string]struct {
		host      string
		node, ask []string
		code      int
		says      string
	}{
		"plain":            {"", nil, nil, 0, ""},
		"a prefix":         {"", []string{"--web.route-prefix=x/y"}, nil, 0, ""},
		"an external URL":  {"", []string{"--web.external-url=http://a.invalid/b/"}, nil, 0, ""},
		"TLS":              {"", []string{"--web.config.file=" + web(encrypted)}, nil, 0, ""},
		"users":            {"", []string{"--web.config.file=" + web(users)}, nil, 0, ""},
		"TLS and users":    {"", []string{"--web.route-prefix=/x", "--web.config.file=" + web(encrypted+users)}, nil, 0, ""},
		"both certify":     {"", []string{"--web.config.file=" + web(mutual(""))}, nil, 0, ""},
		"both, TLS 1.2":    {"", []string{"--web.config.file=" + web(mutual(", max_version: TLS12"))}, nil, 0, ""},
		"no certificate":   {"127.0.0.1", []string{"--web.config.file=" + web(mutual(""))}, []string{"--http.config.file=" + sound}, 1, "asks for a client's certificate"},
		"credentials":      {"127.0.0.1", []string{"--web.config.file=" + web(encrypted+users)}, []string{"--http.config.file=" + sound}, 0, ""},
		"wrong password":   {"", []string{"--web.config.file=" + web(users)}, []string{"--http.config.file=" + wrong}, 1, "401"},
		"no such file":     {"", nil, []string{"--http.config.file=/absent"}, 1, "--http.config.file"},
		"unknown settings": {"", nil, []string{"--http.config.file=" + conf}, 1, "--http.config.file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			port := local.Port(t)
			node := run(t, append([]string{"alertmanager", "--config.file=" + conf, "--storage.path=", "--cluster.listen-address=", fmt.Sprintf("--web.listen-address=%s:%d", c.host, port)}, c.node...)...)
			node.eventually(t, func() error {
				if !strings.Contains(node.stderr.String(), `msg="Listening on"`) {
					return fmt.Errorf("it does not listen yet")
				}
				return nil
			})
			p := run(t, append([]string{"health", fmt.Sprintf("--pid=%d", node.cmd.Process.Pid)}, c.ask...)...)
			if code := p.exitCode(t, patience); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if out := p.stderr.String(); !strings.Contains(out, c.says) || c.says == "" && out != "" {
				t.Errorf("it says %q, want %q", out, c.says)
			}
		})
	}
	p := run(t, "health", fmt.Sprintf("--pid=%d", os.Getpid()))
	if code := p.exitCode(t, patience); code != 1 || !strings.Contains(p.stderr.String(), "give the URL to ask") {
		t.Errorf("of a process that is no node: exit code %d, %q", code, p.stderr.String())
	}
}
