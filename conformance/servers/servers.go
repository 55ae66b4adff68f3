// Package servers starts the real servers of the tests: in a container, from the
// official image, or from a binary of this machine.
//
// The environment variable CLUSTERCHANNEL_SERVERS says which of the two:
//
//   - auto, the default: a container where a container engine answers, else a
//     local process, else the test is skipped
//   - container: a container, else the test is skipped
//   - process: a local process, else the test is skipped
//   - required: a container, else the test fails
//
// The first server of a run prints which of them is used.
// CLUSTERCHANNEL_IMAGE_REDIS and the like replace the image of a kind. If no
// registry can be reached, conformance/images/build makes images with the same
// names.
//
// [Start] starts one server, [StartCluster] several that serve as one. Both run
// in containers and as local processes.
package servers

import (
	"context"
	"strings"
	"testing"
)

// Options change one server, or each of a cluster.
type Options struct {
	// Args follow those of the kind. In them, and in Env, "{host}", "{port}",
	// "{dir}" and "{data}" stand for the fields of [Place].
	Args []string

	// Files are placed in Place.Dir under their names, as they are: nothing is
	// expanded in them.
	Files map[string][]byte

	// Env adds to the environment of the server.
	Env map[string]string

	// Ready replaces that of the kind, and its Joined: with TLS, or a password.
	Ready func(ctx context.Context, addr string) error
}

// Server is a running server. It is a conformance.Server. Its methods are for
// one goroutine at a time, but for Addr and Logs.
type Server struct {
	engine engine
	last   string // the end of its log, once it is stopped for good
}

// engine is what runs a server.
type engine interface {
	Addr() string
	Stop(t testing.TB)
	Start(t testing.TB)
	Empty(t testing.TB)
	Pause(t testing.TB)
	Resume(t testing.TB)
	Kill(t testing.TB)
	Logs() string
	Exec(t testing.TB, args ...string) string
}

// Start starts a server of kind k, empty and ready: its protocol answers. It is
// stopped for good in t.Cleanup. If the test has failed, its log then shows the
// end of the server's.
func Start(t testing.TB, k Kind, o Options) *Server {
	t.Helper()
	if o.Ready != nil {
		k.Ready = o.Ready
	}
	return startAt(t, choose(t, k).sites(t, 1)[0], k, o)
}

// startAt starts a server at its site.
func startAt(t testing.TB, where site, k Kind, o Options) *Server {
	t.Helper()
	s := &Server{}
	t.Cleanup(func() { // runs after the engine's own, which removes the server
		if t.Failed() && s.last != "" {
			t.Logf("%s:\n%s", k.Name, s.last)
		}
	})
	s.engine = where.start(t, k, o)
	t.Cleanup(func() { s.last = tail(s.engine.Logs()) })
	return s
}

// tail returns the last lines of a log.
func tail(log string) string {
	lines := strings.SplitAfter(log, "\n")
	return strings.Join(lines[max(0, len(lines)-50):], "")
}

// Addr is the host:port on which the test can dial the server. After Start it
// may be another.
func (s *Server) Addr() string { return s.engine.Addr() }

// Stop ends the server at once, as a crash does, but keeps what it has stored.
// It returns when nothing answers any more.
func (s *Server) Stop(t testing.TB) { t.Helper(); s.engine.Stop(t) }

// Start brings a stopped server back, with what it had stored. It returns when
// the server answers its protocol.
func (s *Server) Start(t testing.TB) { t.Helper(); s.engine.Start(t) }

// Empty deletes what a stopped server has stored.
func (s *Server) Empty(t testing.TB) { t.Helper(); s.engine.Empty(t) }

// Pause freezes the server: its connections stay, and nothing answers.
func (s *Server) Pause(t testing.TB) { t.Helper(); s.engine.Pause(t) }

// Resume lets a paused server go on.
func (s *Server) Resume(t testing.TB) { t.Helper(); s.engine.Resume(t) }

// Kill is kill -9. Start brings the server back.
func (s *Server) Kill(t testing.TB) { t.Helper(); s.engine.Kill(t) }

// Logs returns what the server has printed since it was first started.
func (s *Server) Logs() string { return s.engine.Logs() }

// Exec runs a program where the server is, and returns what it printed. In args
// "{host}", "{port}", "{dir}" and "{data}" stand for the fields of [Place]. A
// program that fails ends the test.
func (s *Server) Exec(t testing.TB, args ...string) string {
	t.Helper()
	return s.engine.Exec(t, args...)
}
