package container

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
)

// fakeEngine is an engine that has images or none, and pulls some or none.
func fakeEngine(t *testing.T, has, pulls bool) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
		case strings.Contains(r.URL.Path, "/images/create") && pulls:
			_, _ = w.Write([]byte(`{"status":"Pull complete"}` + "\n"))
		case strings.Contains(r.URL.Path, "/images/create"):
			http.Error(w, `{"message":"no such host"}`, http.StatusInternalServerError)
		case strings.Contains(r.URL.Path, reaperImage) && has:
			_, _ = w.Write([]byte(`{"Id":"sha256:1"}`))
		default:
			http.Error(w, `{"message":"no such image"}`, http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	t.Setenv("DOCKER_HOST", "tcp://"+s.Listener.Addr().String())
}

func TestReaper(t *testing.T) {
	for _, c := range []struct {
		name       string
		has, pulls bool
		before     string
		after      string
	}{
		{"its image is there", true, false, "", ""},
		{"its image can be pulled", false, true, "", ""},
		{"its image is not to be had", false, false, "", "true"},
		{"the environment has decided", false, false, "false", "false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(reaperDisabled, c.before)
			fakeEngine(t, c.has, c.pulls)
			settleReaper()
			if got := os.Getenv(reaperDisabled); got != c.after {
				t.Errorf("%s is %q, want %q", reaperDisabled, got, c.after)
			}
		})
	}
	t.Run("no engine", func(t *testing.T) {
		t.Setenv(reaperDisabled, "")
		t.Setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
		settleReaper()
		if got := os.Getenv(reaperDisabled); got != "true" {
			t.Errorf("%s is %q", reaperDisabled, got)
		}
	})
}

func TestHost(t *testing.T) {
	t.Setenv(hostOverride, "")
	s := redis(t, nil)
	host, _, ok := strings.Cut(s.Addr(), ":")
	if !ok || host != loopback {
		t.Errorf("the address is %s", s.Addr())
	}
	if got := os.Getenv(hostOverride); got != loopback {
		t.Errorf("testcontainers is told %q, want %q", got, loopback)
	}
	if got, err := s.current().Host(t.Context()); err != nil || got != loopback {
		t.Errorf("testcontainers says %q, %v", got, err)
	}

	t.Setenv(hostOverride, "")
	e, err := s.host(t.Context(), "1") // nothing answers there
	if err != nil || e == "" {
		t.Errorf("the host is %q, %v", e, err)
	}
	if got := os.Getenv(hostOverride); got != "" {
		t.Errorf("testcontainers is told %q though nothing answers", got)
	}

	t.Setenv(hostOverride, "192.0.2.1")
	if got, err := s.host(t.Context(), "1"); err != nil || got != "192.0.2.1" {
		t.Errorf("the host is %q, %v: not what the environment says", got, err)
	}
}

func TestImageThatIsNotToBeHad(t *testing.T) {
	needsEngine(t)
	err := Obtain("registry.invalid/no/such:image")
	if !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), "registry.invalid/no/such:image") {
		t.Errorf("the error is %v", err)
	}
}

// TestNoEngine runs itself in another process without an engine, since a
// process looks for one only once.
func TestNoEngine(t *testing.T) {
	const inner = "CLUSTERCHANNEL_TEST_NO_ENGINE"
	if os.Getenv(inner) != "" {
		name, err := Engine()
		if err == nil {
			t.Fatalf("%s answers", name)
		}
		if !strings.Contains(err.Error(), "no container engine answers") {
			t.Fatal(err)
		}
		if errors.Is(Obtain("redis"), ErrImage) {
			t.Fatal("an absent engine counts as an absent image")
		}
		return
	}
	began := time.Now()
	cmd := exec.Command(os.Args[0], "-test.run=^TestNoEngine$", "-test.v")
	cmd.Env = append(os.Environ(), inner+"=1", "DOCKER_HOST=tcp://127.0.0.1:1")
	cmd.SysProcAttr = process.EndWithParent()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v to see that no engine answers", took)
	}
}
