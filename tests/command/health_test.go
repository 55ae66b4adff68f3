package command_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
		"nothing":   {nil, 2, "url"},
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
