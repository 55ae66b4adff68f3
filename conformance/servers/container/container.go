// Package container runs a server of the tests in a container, by
// testcontainers-go. It needs no settings: it notices if testcontainers' reaper
// is not available, and if a machine only looks like a container. Containers
// and networks go with their test; those of a run that was killed are removed
// by the next run on the same machine.
package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcexec "github.com/testcontainers/testcontainers-go/exec"
)

// patience is how long a server may take to answer, and the engine to do one
// thing.
const patience = time.Minute

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// Spec says what runs in a container.
type Spec struct {
	Image      string
	Entrypoint []string          // in place of that of the image
	Cmd        []string          // in place of that of the image
	Env        map[string]string // besides that of the image
	Files      map[string][]byte // by path; any user may read them
	Hostname   string            // empty means the start of the container's id
	Port       int               // the TCP port that Addr leads to; 0 is none

	// Networks are those that the container is in, each with its aliases there.
	// Empty means the default network of the engine.
	Networks map[*Network][]string

	// Addresses are the container's addresses in networks; the engine chooses
	// those that are missing.
	Addresses map[*Network]netip.Addr

	// Confined makes the root file system read-only, and gives the container no
	// capabilities and no new privileges. Files then lie in Volumes.
	Confined bool

	// Volumes are writable paths that hold what the image has there. They are
	// removed with the container.
	Volumes []string

	// Halt is what Stop sends; zero means SIGKILL.
	Halt syscall.Signal

	// Ready returns nil once the server answers its protocol. Nil waits for
	// nothing.
	Ready func(ctx context.Context, addr string) error
}

// Server is a server that runs in a container. It is a conformance.Server. Its
// methods are for one goroutine at a time, but for Addr and Logs.
type Server struct {
	engine *engine
	spec   Spec

	mu        sync.Mutex // guards what follows
	container *testcontainers.DockerContainer
	addr      string
	before    string // the logs of containers that Empty has removed
}

// Start starts a container and waits until its server answers. It is removed in
// t.Cleanup.
func Start(t testing.TB, spec Spec) *Server {
	t.Helper()
	if spec.Halt == 0 {
		spec.Halt = syscall.SIGKILL
	}
	e, err := connected()
	if err == nil {
		err = Obtain(spec.Image)
	}
	if err != nil {
		t.Fatalf("container: %v", err)
	}
	s := &Server{engine: e, spec: spec}
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Errorf("container: %s: %v", spec.Image, err)
		}
	})
	if err := s.create(); err != nil {
		t.Fatalf("container: %s: %v", spec.Image, err)
	}
	s.Start(t)
	return s
}

// create makes the container, and does not start it.
func (s *Server) create() error {
	ctx, cancel := limited()
	defer cancel()
	options := []testcontainers.ContainerCustomizer{
		testcontainers.WithNoStart(),
		testcontainers.WithEnv(s.spec.Env),
		testcontainers.WithLabels(map[string]string{Label: self().String()}),
	}
	if s.spec.Entrypoint != nil {
		options = append(options, testcontainers.WithEntrypoint(s.spec.Entrypoint...))
	}
	if s.spec.Cmd != nil {
		options = append(options, testcontainers.WithCmd(s.spec.Cmd...))
	}
	if s.spec.Port != 0 {
		options = append(options, testcontainers.WithExposedPorts(fmt.Sprintf("%d/tcp", s.spec.Port)))
	}
	for path, content := range s.spec.unconfined() {
		options = append(options, testcontainers.WithFiles(testcontainers.ContainerFile{
			Reader: bytes.NewReader(content), ContainerFilePath: path, FileMode: 0o644,
		}))
	}
	for n, aliases := range s.spec.Networks {
		options = append(options, member(n, aliases))
	}
	if len(s.spec.Networks) > 0 {
		options = append(options, testcontainers.WithHostConfigModifier(askOnce))
	}
	if s.spec.Confined {
		options = append(options, testcontainers.WithHostConfigModifier(confine))
	}
	options = append(options, testcontainers.WithConfigModifier(s.spec.configure), testcontainers.WithEndpointSettingsModifier(s.spec.address))
	c, err := testcontainers.Run(ctx, s.spec.Image, options...)
	s.mu.Lock()
	s.container = c
	s.mu.Unlock()
	if err == nil && s.spec.Confined {
		err = s.fill(ctx)
	}
	return err
}

// unconfined are the files that testcontainers writes.
func (s Spec) unconfined() map[string][]byte {
	if s.Confined {
		return nil
	}
	return s.Files
}

// fill puts the files into the volumes: if the root is read-only, the engine
// can write nowhere else, but testcontainers would write to the root.
func (s *Server) fill(ctx context.Context) error {
	defer s.engine.Close() //nolint:errcheck // it closes idle connections, no more
	for _, volume := range s.spec.Volumes {
		var files bytes.Buffer
		w := tar.NewWriter(&files)
		for path, content := range s.spec.Files {
			name, below := strings.CutPrefix(path, volume+"/")
			if !below {
				continue
			}
			err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
			if err == nil {
				_, err = w.Write(content)
			}
			if err != nil {
				return err
			}
		}
		if err := w.Close(); err != nil {
			return err
		}
		if _, err := s.engine.CopyToContainer(ctx, s.id(), client.CopyToContainerOptions{DestinationPath: volume, Content: &files}); err != nil {
			return err
		}
	}
	return nil
}

// askOnce makes the look-up of a name without an alias fail soon: from an
// internal network the engine's resolver gets no answer from others, and each
// program asks again.
func askOnce(h *apicontainer.HostConfig) { h.DNSOptions = []string{"timeout:1", "attempts:1"} }

// confine removes what a restricted pod does not have.
func confine(h *apicontainer.HostConfig) {
	h.ReadonlyRootfs, h.CapDrop, h.SecurityOpt = true, []string{"ALL"}, []string{"no-new-privileges"}
}

func (s Spec) configure(c *apicontainer.Config) {
	c.Hostname = s.Hostname
	c.Volumes = map[string]struct{}{}
	for _, path := range s.Volumes {
		c.Volumes[path] = struct{}{}
	}
}

// address requests the container's addresses in its first networks.
func (s Spec) address(networks map[string]*network.EndpointSettings) {
	for n, addr := range s.Addresses {
		if settings, ok := networks[n.Name]; ok {
			settings.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: addr}
		}
	}
}

// member puts a container into a network.
func member(n *Network, aliases []string) testcontainers.CustomizeRequestOption {
	return func(req *testcontainers.GenericContainerRequest) error {
		req.Networks = append(req.Networks, n.Name)
		if req.NetworkAliases == nil {
			req.NetworkAliases = map[string][]string{}
		}
		req.NetworkAliases[n.Name] = slices.Clone(aliases)
		return nil
	}
}

// current is the container; nil if there is none yet.
func (s *Server) current() *testcontainers.DockerContainer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.container
}

func (s *Server) id() string { return s.current().GetContainerID() }

func (s *Server) inspect(ctx context.Context) (*apicontainer.InspectResponse, error) {
	return s.current().Inspect(ctx)
}

// Addr is the host:port at which the test reaches the server. Each Start may
// change it. It is empty where no port is published.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Start starts the server, and returns when it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatalf("container: %s: %v\n%s", s.spec.Image, err, s.Logs())
	}
}

func (s *Server) start() error {
	ctx, cancel := limited()
	defer cancel()
	if err := s.current().Start(ctx); err != nil {
		return err
	}
	if err := s.locate(ctx); err != nil || s.spec.Ready == nil {
		return err
	}
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := s.spec.Ready(ctx, s.Addr())
		if err == nil {
			return nil
		}
		if info, failed := s.inspect(ctx); failed == nil && !info.State.Running {
			return fmt.Errorf("it has ended, with %d, before it was ready", info.State.ExitCode)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is not ready after %v: %w", patience, err)
		case <-retry.C:
		}
	}
}

// Stop ends the server as a crash does. What it has handed to the operating
// system is kept.
func (s *Server) Stop(t testing.TB) { t.Helper(); s.end(t, s.spec.Halt) }

// Kill is kill -9.
func (s *Server) Kill(t testing.TB) { t.Helper(); s.end(t, syscall.SIGKILL) }

func (s *Server) end(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := s.kill(signal); err != nil {
		t.Fatalf("container: %s: %v", s.spec.Image, err)
	}
}

// kill sends a signal that ends the server, and waits until it has ended.
func (s *Server) kill(signal syscall.Signal) error {
	ctx, cancel := limited()
	defer cancel()
	defer s.engine.Close() //nolint:errcheck // it closes idle connections, no more
	info, err := s.inspect(ctx)
	if err != nil {
		return err
	}
	if info.State.Paused {
		if _, err := s.engine.ContainerUnpause(ctx, s.id(), client.ContainerUnpauseOptions{}); err != nil {
			return err
		}
	}
	if !info.State.Running {
		return nil
	}
	if _, err := s.engine.ContainerKill(ctx, s.id(), client.ContainerKillOptions{Signal: fmt.Sprint(int(signal))}); err != nil {
		return err
	}
	ended := s.engine.ContainerWait(ctx, s.id(), client.ContainerWaitOptions{Condition: apicontainer.WaitConditionNotRunning})
	select {
	case <-ended.Result:
		return nil
	case err := <-ended.Error:
		return err
	}
}

// remove removes the container, and what it stored.
func (s *Server) remove() error {
	if s.current() == nil {
		return nil
	}
	killed := s.kill(syscall.SIGKILL)
	ctx, cancel := limited()
	defer cancel()
	return errors.Join(killed, s.current().Terminate(ctx, testcontainers.StopTimeout(0)))
}

// Empty deletes what a stopped server has stored: a new container replaces the
// old one.
func (s *Server) Empty(t testing.TB) {
	t.Helper()
	ctx, cancel := limited()
	defer cancel()
	info, err := s.inspect(ctx)
	if err != nil {
		t.Fatalf("container: %s: %v", s.spec.Image, err)
	}
	if info.State.Running {
		t.Fatalf("container: %s runs: stop it before its data is deleted", s.spec.Image)
	}
	logs := s.Logs()
	if err := errors.Join(s.remove(), s.create()); err != nil {
		t.Fatalf("container: %s: %v", s.spec.Image, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = logs
}

// Pause freezes the server: its connections stay, and nothing answers.
func (s *Server) Pause(t testing.TB) {
	t.Helper()
	ctx, cancel := limited()
	defer cancel()
	defer s.engine.Close() //nolint:errcheck // it closes idle connections, no more
	if _, err := s.engine.ContainerPause(ctx, s.id(), client.ContainerPauseOptions{}); err != nil {
		t.Fatalf("container: %s: %v", s.spec.Image, err)
	}
}

// Resume lets a paused server go on.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	ctx, cancel := limited()
	defer cancel()
	defer s.engine.Close() //nolint:errcheck // it closes idle connections, no more
	if _, err := s.engine.ContainerUnpause(ctx, s.id(), client.ContainerUnpauseOptions{}); err != nil {
		t.Fatalf("container: %s: %v", s.spec.Image, err)
	}
}

// Logs returns all that the server has printed, in this run and earlier ones.
func (s *Server) Logs() string {
	c := s.current()
	if c == nil {
		return ""
	}
	ctx, cancel := limited()
	defer cancel()
	var text strings.Builder
	s.mu.Lock()
	text.WriteString(s.before)
	s.mu.Unlock()
	logs, err := c.Logs(ctx)
	if err != nil {
		return text.String() + err.Error()
	}
	defer logs.Close() //nolint:errcheck // it was read
	if _, err := io.Copy(&text, logs); err != nil {
		text.WriteString(err.Error())
	}
	return text.String()
}

// Exec runs a program in the container, and returns what it printed. A program
// that fails ends the test.
func (s *Server) Exec(t testing.TB, args ...string) string {
	t.Helper()
	out, err := s.exec(args)
	if err != nil {
		t.Fatalf("container: %v: %v\n%s", args, err, out)
	}
	return out
}

func (s *Server) exec(args []string) (string, error) {
	ctx, cancel := limited()
	defer cancel()
	code, r, err := s.current().Exec(ctx, args, tcexec.Multiplexed())
	if err != nil {
		return "", err
	}
	out, err := io.ReadAll(r)
	if err == nil && code != 0 {
		err = fmt.Errorf("it ended with %d", code)
	}
	return string(out), err
}

// File returns the content of a file of the container, even a stopped one.
func (s *Server) File(t testing.TB, path string) []byte {
	t.Helper()
	content, err := s.file(path)
	if err != nil {
		t.Fatalf("container: %s: %v", path, err)
	}
	return content
}

func (s *Server) file(path string) ([]byte, error) {
	ctx, cancel := limited()
	defer cancel()
	r, err := s.current().CopyFileFromContainer(ctx, path)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(r)
	return content, errors.Join(err, r.Close())
}
