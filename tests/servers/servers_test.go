package servers_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

var _ conformance.Server = (*servers.Server)(nil)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is a kind of server, and how to store something in one.
type store struct {
	kind servers.Kind
	put  func(t *testing.T, s *servers.Server)
	has  func(t *testing.T, s *servers.Server) bool
}

func run(args ...string) func(*testing.T, *servers.Server) {
	return func(t *testing.T, s *servers.Server) { t.Helper(); s.Exec(t, args...) }
}

// prints reports whether a program prints want.
func prints(want string, args ...string) func(*testing.T, *servers.Server) bool {
	return func(t *testing.T, s *servers.Server) bool {
		t.Helper()
		return strings.Contains(s.Exec(t, args...), want)
	}
}

var psql = []string{"psql", "-h", "127.0.0.1", "-p", "{port}", "-U", "postgres", "-Atc"}

func stores() []store {
	etcdctl := []string{"etcdctl", "--endpoints", "127.0.0.1:{port}"}
	return []store{
		{
			servers.Redis(),
			run("redis-cli", "-p", "{port}", "SET", "a", "stored"),
			prints("stored", "redis-cli", "-p", "{port}", "GET", "a"),
		},
		{
			servers.Etcd(),
			run(append(etcdctl, "put", "a", "stored")...),
			prints("stored", append(etcdctl, "get", "a")...),
		},
		{
			servers.Postgres(),
			run(append(psql, "CREATE TABLE stored ()")...),
			prints("stored", append(psql, "SELECT tablename FROM pg_tables WHERE tablename = 'stored'")...),
		},
		{servers.NATS(), putStream, hasStream},
	}
}

// jetStream calls do with a client of s.
func jetStream(t *testing.T, s *servers.Server, do func(nats.JetStreamContext)) {
	t.Helper()
	conn, err := nats.Connect("nats://" + s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := conn.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	do(js)
}

func putStream(t *testing.T, s *servers.Server) {
	t.Helper()
	jetStream(t, s, func(js nats.JetStreamContext) {
		if _, err := js.AddStream(&nats.StreamConfig{Name: "stored", Subjects: []string{"a"}}); err != nil {
			t.Fatal(err)
		}
	})
}

func hasStream(t *testing.T, s *servers.Server) (has bool) {
	t.Helper()
	jetStream(t, s, func(js nats.JetStreamContext) {
		_, err := js.StreamInfo("stored")
		has = err == nil
	})
	return has
}

// engines are the values of CLUSTERCHANNEL_SERVERS that a test runs under: what
// is required, and a local process besides.
func engines() []string {
	if os.Getenv("CLUSTERCHANNEL_SERVERS") == "required" {
		return []string{"required", "process"}
	}
	return []string{"container", "process"}
}

// each runs a test on every kind of server, in each engine.
func each(t *testing.T, test func(t *testing.T, st store)) {
	for _, engine := range engines() {
		for _, st := range stores() {
			t.Run(engine+"/"+st.kind.Name, func(t *testing.T) {
				t.Setenv("CLUSTERCHANNEL_SERVERS", engine)
				test(t, st)
			})
		}
	}
}

// options are what psql logs in with.
var options = servers.Options{Env: map[string]string{"PGPASSWORD": servers.PostgresPassword}}

func TestData(t *testing.T) {
	each(t, func(t *testing.T, st store) {
		s := servers.Start(t, st.kind, options)
		if st.has(t, s) {
			t.Fatal("a new server is not empty")
		}
		st.put(t, s)
		if !st.has(t, s) {
			t.Fatal("the server does not keep what it is told")
		}
		for _, end := range []func(testing.TB){s.Stop, s.Kill} {
			end(t)
			silent(t, st.kind, s)
			s.Start(t)
			if !st.has(t, s) {
				t.Fatal("what was stored is gone")
			}
		}
		s.Stop(t)
		s.Empty(t)
		s.Start(t)
		if st.has(t, s) {
			t.Error("what was stored is still there")
		}
	})
}

// silent fails the test if the server answers its protocol.
func silent(t *testing.T, k servers.Kind, s *servers.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := k.Ready(ctx, s.Addr()); err == nil {
		t.Error("the server answers")
	}
}

func TestPause(t *testing.T) {
	each(t, func(t *testing.T, st store) {
		s := servers.Start(t, st.kind, options)
		s.Pause(t)
		silent(t, st.kind, s)
		s.Resume(t)
		if err := st.kind.Ready(t.Context(), s.Addr()); err != nil {
			t.Error(err)
		}
		s.Pause(t) // such a server can be stopped, too
		s.Stop(t)
		s.Start(t)
		if s.Logs() == "" && st.kind.Name != "etcd" { // which logs warnings alone
			t.Error("the server has logged nothing")
		}
	})
}

func TestOptions(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Setenv("CLUSTERCHANNEL_SERVERS", engine)
			asked := false
			s := servers.Start(t, servers.Redis(), servers.Options{
				Args:  []string{"--aclfile", "{dir}/users.acl"},
				Files: map[string][]byte{"users.acl": []byte("user default on >of-the-file ~* &* +@all\n")},
				Env:   map[string]string{"REDISCLI_AUTH": "of-the-file"},
				Ready: func(ctx context.Context, addr string) error {
					asked = true
					return servers.Redis().Ready(ctx, addr)
				},
			})
			if !asked {
				t.Error("Ready of the options was not asked")
			}
			if out := s.Exec(t, "redis-cli", "-p", "{port}", "CONFIG", "GET", "aclfile"); !strings.Contains(out, "/users.acl") {
				t.Errorf("redis-cli prints %q", out)
			}
		})
	}
}

func TestPostgresEnvironment(t *testing.T) {
	for _, engine := range engines() {
		t.Run(engine, func(t *testing.T) {
			t.Setenv("CLUSTERCHANNEL_SERVERS", engine)
			s := servers.Start(t, servers.Postgres(), servers.Options{Env: map[string]string{
				"POSTGRES_USER": "of_the_test", "POSTGRES_PASSWORD": "its-password", "POSTGRES_DB": "its_data", "PGPASSWORD": "its-password",
			}})
			out := s.Exec(t, "psql", "-h", "127.0.0.1", "-p", "{port}", "-U", "of_the_test", "-d", "its_data", "-Atc", "SELECT current_user, current_database()")
			if strings.TrimSpace(out) != "of_the_test|its_data" {
				t.Errorf("psql prints %q", out)
			}
		})
	}
}
