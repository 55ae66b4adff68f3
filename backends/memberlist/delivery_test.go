package memberlist

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ml "github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// stranger is a plain node of memberlist, as an Alertmanager is.
type stranger struct {
	*ml.Memberlist
	mu       sync.Mutex
	messages [][]byte
	states   [][]byte
}

func (s *stranger) NodeMeta(int) []byte             { return nil }
func (s *stranger) GetBroadcasts(_, _ int) [][]byte { return nil }
func (s *stranger) LocalState(bool) []byte          { return []byte("state of a stranger") }

func (s *stranger) NotifyMsg(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, bytes.Clone(b))
}

func (s *stranger) MergeRemoteState(b []byte, _ bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states = append(s.states, bytes.Clone(b))
}

func (s *stranger) received() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messages
}

// newStranger starts one that exchanges no states of its own accord, unless it is told
// how often.
func newStranger(t *testing.T, label string, often ...time.Duration) *stranger {
	t.Helper()
	s := &stranger{}
	c := ml.DefaultLANConfig()
	c.Name, c.Label, c.Delegate = "01STRANGER", label, s
	c.BindAddr, c.BindPort = newHost().String(), 9094
	c.AdvertisePort = c.BindPort
	c.PushPullInterval = 0
	for _, d := range often {
		c.PushPullInterval = d
	}
	c.Logger = newLogger(discard())
	var err error
	if s.Memberlist, err = ml.Create(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestForeignMemberGetsUpdatesOneByOne(t *testing.T) {
	s := newStranger(t, "c", 500*time.Millisecond)
	peers := map[string]string{"peers": s.LocalNode().Address(), "push_pull_interval": "500ms"}
	a := start(t, spec{name: "a", cluster: "c", params: peers, state: []byte("state of a")})
	b := start(t, spec{name: "b", cluster: "c", params: peers})
	testkit.Eventually(t, 5*time.Second, func() error {
		if v := a.view() + "/" + b.view(); v != "01STRANGER a b/01STRANGER a b" {
			return fmt.Errorf("views %q", v)
		}
		return nil
	})
	var parts [][]byte                                               // of the state "sil", as clusterpb.Part
	for i, size := range []int{10, 600, 5000, 5000, 5000, 1 << 20} { // several go by streams at once
		part := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "sil")
		part = protowire.AppendBytes(protowire.AppendTag(part, 2, protowire.BytesType), bytes.Repeat([]byte{byte('0' + i)}, size))
		parts = append(parts, part)
	}
	updates := func(yield func(string, []byte) bool) {
		for _, p := range parts {
			if !yield("sil", p) {
				return
			}
		}
	}
	batch := slices.Concat(parts...)
	if heard, err := a.Caps().Updates(t.Context(), updates); heard || err != nil {
		t.Fatalf("heard by own nodes: %v, %v", heard, err)
	}
	if err := a.Broadcast(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if err := a.Broadcast(t.Context(), []byte("for own nodes")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 5*time.Second, func() error {
		for i, p := range parts {
			if !containsBytes(s.received(), p) {
				return fmt.Errorf("the stranger has no update %d", i)
			}
		}
		if b.got(batch) != 1 {
			return fmt.Errorf("b got the frame %d times", b.got(batch))
		}
		return nil
	})
	always(t, 500*time.Millisecond, func() error {
		for _, m := range s.received() {
			if !containsBytes(parts, m) {
				return fmt.Errorf("the stranger got what it cannot read: %.60q", m)
			}
		}
		return nil
	})
	// Full states, on joining and later on.
	testkit.Eventually(t, 5*time.Second, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		n := 0
		for _, state := range s.states {
			if bytes.HasPrefix(state, []byte("state of a")) {
				n++
			}
		}
		if n < 2 {
			return fmt.Errorf("the stranger got the state of a %d times", n)
		}
		return nil
	})
	if err := s.Leave(time.Second); err != nil {
		t.Fatal(err)
	}
	agree(t, a, b)
	if l := a.recorder.left; len(l) != 1 || l[0] != "01STRANGER" {
		t.Errorf("left: %v, want the stranger", l)
	}
}

func containsBytes(all [][]byte, b []byte) bool {
	for _, have := range all {
		if bytes.Equal(have, b) {
			return true
		}
	}
	return false
}

func TestAboveTheDirectLimit(t *testing.T) {
	nodes := startAll(t, spec{cluster: "c", params: map[string]string{"direct_limit": "2"}}, strings.Split("a b c d e f g h", " ")...)
	for _, size := range []int{100, 10_000} {
		frame := bytes.Repeat([]byte{0x0a}, size)
		if err := nodes[0].Broadcast(t.Context(), frame); err != nil {
			t.Fatal(err)
		}
		// A member may miss it; nearly all have it.
		testkit.Eventually(t, 5*time.Second, func() error {
			have := 0
			for _, n := range nodes[1:] {
				have += min(n.got(frame), 1)
			}
			if have < len(nodes)-2 {
				return fmt.Errorf("%d of %d have the frame of %d bytes", have, len(nodes)-1, size)
			}
			return nil
		})
		if nodes[0].got(frame) > len(nodes) {
			t.Errorf("the frame went round %d times", nodes[0].got(frame))
		}
	}
}

// What is for one member goes to that one, in a large cluster too: a state would reach
// everybody.
func TestSendAboveTheDirectLimit(t *testing.T) {
	nodes := startAll(t, spec{cluster: "c", params: map[string]string{"direct_limit": "2"}}, strings.Split("a b c d e f g h", " ")...)
	for _, size := range []int{100, 100_000} {
		frame := bytes.Repeat([]byte{0x0b}, size)
		if err := nodes[0].send(t.Context(), driver.Member{Instance: nodes[1].self.Instance}, frame); err != nil {
			t.Fatal(err)
		}
		all := bytes.Repeat([]byte{0x0c}, size) // passed on in the same way, later
		if err := nodes[1].Broadcast(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, 5*time.Second, func() error {
			have := 0
			for _, n := range nodes {
				have += min(n.got(all), 1)
			}
			if have < len(nodes)-2 || nodes[1].got(frame) != 1 {
				return fmt.Errorf("%d have what is for all, and %d the frame", have, nodes[1].got(frame))
			}
			return nil
		})
		for _, n := range nodes[2:] {
			if n.got(frame) > 0 {
				t.Errorf("%s has the %d bytes that are for b", n.self.Name, size)
			}
		}
	}
}

func TestFlood(t *testing.T) {
	nodes := startAll(t, spec{cluster: "c"}, "a", "b", "c")
	const writers, each = 16, 250
	var failed atomic.Int32
	var wg sync.WaitGroup
	began := time.Now()
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := nodes[0].Broadcast(t.Context(), fmt.Appendf(nil, "\x0a%d/%d", w, i)); err != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	count := func(n *testNode) int {
		n.mu.Lock()
		defer n.mu.Unlock()
		different := map[string]bool{}
		for _, f := range n.frames {
			different[string(f)] = true
		}
		return len(different)
	}
	testkit.Eventually(t, 10*time.Second, func() error {
		for _, n := range nodes[1:] {
			if have := count(n); have < writers*each-int(failed.Load()) {
				return fmt.Errorf("%s has %d of %d frames", n.self.Name, have, writers*each)
			}
		}
		return nil
	})
	t.Logf("%d frames in %v, %d failed", writers*each, took.Round(time.Millisecond), failed.Load())
	agree(t, nodes...)
}

// footprint counts what a node sends.
type footprint struct {
	ml.NodeAwareTransport
	packets, bytes, dials atomic.Int64
}

func (f *footprint) WriteTo(b []byte, addr string) (time.Time, error) {
	return f.WriteToAddress(b, ml.Address{Addr: addr})
}

func (f *footprint) WriteToAddress(b []byte, a ml.Address) (time.Time, error) {
	f.packets.Add(1)
	f.bytes.Add(int64(len(b)))
	return f.NodeAwareTransport.WriteToAddress(b, a)
}

func (f *footprint) DialAddressTimeout(a ml.Address, timeout time.Duration) (net.Conn, error) {
	f.dials.Add(1)
	return f.NodeAwareTransport.DialAddressTimeout(a, timeout)
}

func TestIdleFootprint(t *testing.T) {
	f := &footprint{}
	b := start(t, spec{name: "b", cluster: "c"})
	c := start(t, spec{name: "c", cluster: "c", params: map[string]string{"peers": b.addr}})
	a := start(t, spec{name: "a", cluster: "c", params: map[string]string{"peers": b.addr}, hooks: hooks{
		wrap: func(t ml.NodeAwareTransport) ml.NodeAwareTransport { f.NodeAwareTransport = t; return f },
	}})
	agree(t, a, b, c)
	settled := time.Now().Add(3 * time.Second) // the news of the join is gossiped for a while
	testkit.Eventually(t, 5*time.Second, func() error {
		if time.Now().Before(settled) {
			return errors.New("not settled")
		}
		return nil
	})
	packets, size, dials := f.packets.Load(), f.bytes.Load(), f.dials.Load()
	const window = 3 * time.Second
	always(t, window, func() error { return nil })
	packets, size, dials = f.packets.Load()-packets, f.bytes.Load()-size, f.dials.Load()-dials
	t.Logf("idle, of 3: %d packets, %d bytes, %d connections in %v", packets, size, dials, window)
	if packets > 8*int64(window/time.Second) || dials > 1 {
		t.Errorf("an idle node sent %d packets and made %d connections in %v", packets, dials, window)
	}
}
