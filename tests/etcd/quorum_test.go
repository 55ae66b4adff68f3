package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// quorum is an etcd cluster of three processes. A mesh stands between them, so
// that one can be separated from the others.
type quorum struct {
	members [3]*process.Server
	data    [3]string // where each stores its data
	initial string    // its peers, as --initial-cluster has them
	token   string
	mesh    *mesh
}

func newQuorum(t testing.TB) *quorum {
	t.Helper()
	path := process.Need(t, "etcd")
	q := &quorum{mesh: newMesh(t), token: t.Name()}
	for i := range q.members {
		q.initial += fmt.Sprintf(",m%d=%s", i, q.peer(i))
	}
	q.initial = q.initial[1:]
	var wg sync.WaitGroup
	for i := range q.members {
		q.data[i] = t.TempDir()
		spec := memberSpec(t, path, fmt.Sprintf("m%d", i), q.data[i], "http://"+q.mesh.targets[i], q.peer(i), q.initial, "--initial-cluster-token", q.token)
		wg.Go(func() { q.members[i] = process.Start(t, spec) })
	}
	wg.Wait()
	q.mesh.learn(t, admin(t, q.addrs()[0]))
	return q
}

// peer is where the others reach a member.
func (q *quorum) peer(member int) string { return "http://" + q.mesh.listeners[member].Addr().String() }

// memberSpec describes a member, which listens for the others at listen, and is
// reached at peer.
func memberSpec(t testing.TB, path, name, data, listen, peer, initial string, more ...string) process.Spec {
	client := net.JoinHostPort("127.0.0.1", strconv.Itoa(process.Port(t)))
	return process.Spec{
		Path: path, Addr: client, Data: data,
		Args: append([]string{
			"--name", name, "--data-dir", data + "/etcd", "--log-level", "warn",
			"--listen-client-urls", "http://" + client, "--advertise-client-urls", "http://" + client,
			"--listen-peer-urls", listen, "--initial-advertise-peer-urls", peer, "--initial-cluster", initial,
		}, more...),
		Ready: dialable,
	}
}

func dialable(ctx context.Context, addr string) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (q *quorum) addrs() (addrs []string) {
	for _, m := range q.members {
		addrs = append(addrs, m.Addr())
	}
	return addrs
}

// mesh carries the traffic between members. Each request says which member it
// is from.
type mesh struct {
	listeners [3]net.Listener // what each member gives as its own address
	targets   [3]string       // where it listens

	mu    sync.Mutex
	ids   map[string]int // what a member calls itself
	apart int            // the member that is parted from the others; -1: none
	links map[*link]bool
	wg    sync.WaitGroup
}

type link struct {
	from     string
	to       int
	one, two net.Conn
}

func newMesh(t testing.TB) *mesh {
	m := &mesh{ids: map[string]int{}, apart: -1, links: map[*link]bool{}}
	for i := range m.listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		m.listeners[i], m.targets[i] = l, net.JoinHostPort("127.0.0.1", strconv.Itoa(process.Port(t)))
		m.wg.Go(func() { m.accept(i) })
	}
	t.Cleanup(func() {
		for _, l := range m.listeners {
			_ = l.Close()
		}
		m.closeLinks(func(*link) bool { return true })
		m.wg.Wait()
	})
	return m
}

// learn asks the members for their names.
func (m *mesh) learn(t testing.TB, c *clientv3.Client) {
	t.Helper()
	testkit.Eventually(t, 30*time.Second, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		r, err := c.MemberList(ctx)
		if err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, member := range r.Members {
			if member.Name == "" {
				return errors.New("a member has no name yet")
			}
			m.ids[strconv.FormatUint(member.ID, 16)] = int(member.Name[1] - '0')
		}
		return nil
	})
}

// part cuts member i off from the others; -1 ends that.
func (m *mesh) part(i int) {
	m.mu.Lock()
	m.apart = i
	m.mu.Unlock()
	m.closeLinks(m.parted)
}

func (m *mesh) parted(l *link) bool {
	from, known := m.ids[l.from]
	return m.apart >= 0 && (l.to == m.apart || known && from == m.apart)
}

func (m *mesh) closeLinks(which func(*link) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for l := range m.links {
		if which(l) {
			_ = l.one.Close()
			_ = l.two.Close()
		}
	}
}

func (m *mesh) accept(to int) {
	for {
		conn, err := m.listeners[to].Accept()
		if err != nil {
			return
		}
		m.wg.Go(func() { m.serve(conn, to) })
	}
}

var serverFrom = regexp.MustCompile(`(?i)\r\nX-Server-From: ([0-9a-f]+)\r\n`)

// serve finds out whose connection it is, and carries it if that is allowed.
func (m *mesh) serve(conn net.Conn, to int) {
	defer conn.Close() //nolint:errcheck // it is over
	head := make([]byte, 0, 4096)
	for !bytes.Contains(head, []byte("\r\n\r\n")) {
		if len(head) == cap(head) {
			return
		}
		n, err := conn.Read(head[len(head):cap(head)])
		if err != nil {
			return
		}
		head = head[:len(head)+n]
	}
	from := ""
	if found := serverFrom.FindSubmatch(head); found != nil {
		from = string(found[1])
	}
	target, err := net.Dial("tcp", m.targets[to])
	if err != nil {
		return
	}
	defer target.Close() //nolint:errcheck // it is over
	l := &link{from, to, conn, target}
	m.mu.Lock()
	allowed := !m.parted(l)
	if allowed {
		m.links[l] = true
	}
	m.mu.Unlock()
	if !allowed {
		return
	}
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.links, l)
	}()
	if _, err := target.Write(head); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(target, conn); _ = target.Close() })
	_, _ = io.Copy(conn, target)
	_ = conn.Close()
	both.Wait()
}
