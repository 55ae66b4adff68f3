package inputs_test

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a name server that this process asks, and that answers what a test
// says at the moment.
type names struct {
	conn net.PacketConn

	mu    sync.Mutex
	addrs map[string][]netip.Addr
	turns map[string]bool // names whose addresses are given one at a time, in turn
}

// newNames makes this process ask a name server of its own until the end of t.
func newNames(t *testing.T) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{conn: conn, addrs: map[string][]netip.Addr{}, turns: map[string]bool{}}
	var serving sync.WaitGroup
	serving.Go(n.serve)
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		_ = conn.Close() // it ends serve
		serving.Wait()
	})
	return n
}

// set makes name resolve to addrs; to nothing if there are none.
func (n *names) set(name string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs[name+"."], n.turns[name+"."] = nil, false
	for _, a := range addrs {
		n.addrs[name+"."] = append(n.addrs[name+"."], netip.MustParseAddr(a))
	}
}

// turn makes name resolve to each of addrs in turn.
func (n *names) turn(name string, addrs ...string) {
	n.set(name, addrs...)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.turns[name+"."] = true
}

func (n *names) serve() {
	buf := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer, err := n.answer(buf[:size]); err == nil {
			_, _ = n.conn.WriteTo(answer, from) // who asked asks again
		}
	}
}

// answer answers one question.
func (n *names) answer(question []byte) ([]byte, error) {
	var p dnsmessage.Parser
	head, err := p.Start(question)
	if err != nil {
		return nil, err
	}
	q, err := p.Question()
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	addrs := n.addrs[q.Name.String()]
	if n.turns[q.Name.String()] && q.Type == dnsmessage.TypeA {
		n.addrs[q.Name.String()] = append(addrs[1:len(addrs):len(addrs)], addrs[0])
		addrs = addrs[:1]
	}
	n.mu.Unlock()
	code := dnsmessage.RCodeSuccess
	if len(addrs) == 0 {
		code = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: head.ID, Response: true, Authoritative: true, RCode: code})
	if err := b.StartQuestions(); err != nil {
		return nil, err
	}
	if err := b.Question(q); err != nil {
		return nil, err
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if q.Type == dnsmessage.TypeA {
			if err := b.AResource(dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class}, dnsmessage.AResource{A: a.As4()}); err != nil {
				return nil, err
			}
		}
	}
	return b.Finish()
}
