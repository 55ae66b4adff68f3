package memberlist

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

func TestBroadcastReachesAll(t *testing.T) {
	nodes := startAll(t, spec{cluster: "c"}, "a", "b", "c")
	for _, size := range []int{1, 700, 1300, 1400, 64 << 10, maxFrame} {
		frame := bytes.Repeat([]byte{0x0a}, size)
		if err := nodes[0].Broadcast(t.Context(), frame); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		testkit.Eventually(t, 10*time.Second, func() error {
			for _, n := range nodes[1:] {
				if n.got(frame) == 0 {
					return fmt.Errorf("%s has no frame of %d bytes", n.self.Name, size)
				}
			}
			return nil
		})
		if n := nodes[0].got(frame); n != 0 {
			t.Errorf("the sender got its own frame of %d bytes", size)
		}
	}
	if err := nodes[0].Broadcast(t.Context(), make([]byte, maxFrame+1)); !errors.Is(err, driver.ErrTooLarge) {
		t.Errorf("a frame above the limit: %v, want ErrTooLarge", err)
	}
}

func TestSendReachesOne(t *testing.T) {
	nodes := startAll(t, spec{cluster: "c"}, "a", "b", "c")
	frame := []byte("\x0afor b")
	if err := nodes[0].Caps().Send(t.Context(), nodes[1].self, frame); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 5*time.Second, func() error {
		if nodes[1].got(frame) != 1 {
			return errors.New("b has not got the frame")
		}
		return nil
	})
	if nodes[2].got(frame) != 0 {
		t.Error("c got a frame for b")
	}
	if err := nodes[0].Caps().Send(t.Context(), driver.Member{Name: "nobody", Instance: "x"}, frame); !errors.Is(err, driver.ErrUnavailable) {
		t.Errorf("a frame for nobody: %v, want ErrUnavailable", err)
	}
}

// Own nodes exchange states by frames, each once: the list of members comes without
// them, on joining, after a failure and from time to time.
func TestListComesWithoutStates(t *testing.T) {
	often := map[string]string{"push_pull_interval": "100ms"}
	nodes := startAll(t, spec{cluster: "c", state: []byte("a state"), params: often}, "a", "b", "c")
	nodes[2].crash()
	agree(t, nodes[:2]...)
	always(t, time.Second, func() error {
		for _, n := range nodes {
			n.mu.Lock()
			defer n.mu.Unlock()
			if len(n.states) > 0 {
				return fmt.Errorf("%s was given %d states", n.self.Name, len(n.states))
			}
		}
		return nil
	})
}

func TestOversizeStateDoesNotBreakTheJoin(t *testing.T) {
	s := newStranger(t, "c")
	a := start(t, spec{name: "a", cluster: "c", state: make([]byte, maxState+1), params: map[string]string{"peers": s.LocalNode().Address()}})
	testkit.Eventually(t, 10*time.Second, func() error {
		if v := a.view(); v != "01STRANGER a" {
			return fmt.Errorf("a lists %q", v)
		}
		if !strings.Contains(a.logs.String(), "too large") {
			return errors.New("nothing is logged of a state that is left out")
		}
		return nil
	})
}

// A foreign member is given the state as soon as it is known, not when it is its turn,
// whoever has joined whom.
func TestForeignMemberIsGivenTheStateAtOnce(t *testing.T) {
	for _, joins := range []string{"it", "we"} {
		t.Run(joins, func(t *testing.T) {
			s := newStranger(t, "c")
			peers := map[string]string{}
			if joins == "we" {
				peers["peers"] = s.LocalNode().Address()
			}
			a := start(t, spec{name: "a", cluster: "c", state: []byte("state of a"), params: peers})
			if joins == "it" {
				if _, err := s.Join([]string{a.addr}); err != nil {
					t.Fatal(err)
				}
			}
			testkit.Eventually(t, 5*time.Second, func() error {
				s.mu.Lock()
				defer s.mu.Unlock()
				if !slices.ContainsFunc(s.states, func(b []byte) bool { return bytes.HasPrefix(b, []byte("state of a")) }) {
					return errors.New("the stranger has no state of a")
				}
				return nil
			})
		})
	}
}

func TestLeaveIsPromptAndNoFailure(t *testing.T) {
	nodes := startAll(t, spec{cluster: "c"}, "a", "b", "c")
	began := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		nodes[2].stop(t)
	}()
	agree(t, nodes[:2]...)
	if d := time.Since(began); d > time.Second {
		t.Errorf("a leave was seen after %v", d)
	}
	<-done
	for _, n := range nodes[:2] {
		if !slices.Equal(n.recorder.left, []string{"c"}) {
			t.Errorf("%s: left: %v, want c", n.self.Name, n.recorder.left)
		}
	}
	// A member that left is not missed.
	nodes[1].stop(t)
	agree(t, nodes[0])
	always(t, 2*time.Second, func() error {
		if l := nodes[0].lastLink(); l != "ok" {
			return fmt.Errorf("after all others left: %s", l)
		}
		return nil
	})
}

// Who joins by one member alone is heard of by gossip, which nobody sends again: no other
// member misses it.
func TestWhoJoinsIsHeardOfByAll(t *testing.T) {
	if testing.Short() {
		t.Skip("ninety nodes: not under the race detector")
	}
	for range 3 {
		var nodes []backend.ClusterChannel
		seed := ""
		for i := range 30 {
			addr := netip.AddrPortFrom(newHost(), 9094).String()
			c, err := backend.Open(t.Context(), backend.Config{
				Backend: "memberlist", Cluster: "c", Name: fmt.Sprint("n", i), Logger: slog.New(slog.DiscardHandler),
				Params: map[string]string{"listen_address": addr, "peers": cmp.Or(seed, addr)},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = c.Close(context.Background()) }) // again, unless a node was missed
			seed = cmp.Or(seed, addr)
			nodes = append(nodes, c)
		}
		testkit.Eventually(t, 15*time.Second, func() error {
			for _, c := range nodes {
				if v := c.View(); len(v.Members) != len(nodes) {
					return fmt.Errorf("a node lists %d of %d", len(v.Members), len(nodes))
				}
			}
			return nil
		})
		var closing sync.WaitGroup
		for _, c := range nodes {
			closing.Go(func() {
				if err := c.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		closing.Wait()
	}
}

func TestCrashIsSeen(t *testing.T) {
	for _, size := range []int{3, 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			nodes := startAll(t, spec{cluster: "c"}, strings.Split("a b c d e f g h i j", " ")[:size]...)
			began := time.Now()
			nodes[size-1].crash()
			agree(t, nodes[:size-1]...)
			t.Logf("%d nodes: a crash was seen by all after %v", size, time.Since(began).Round(time.Millisecond))
			for _, n := range nodes[:size-1] {
				if len(n.recorder.left) > 0 {
					t.Errorf("%s took a crash for a leave", n.self.Name)
				}
			}
		})
	}
}

func TestVanishedHostIsSeen(t *testing.T) {
	w, nodes := cuttableNodes(t, "a", "b", "c")
	began := time.Now()
	w.set(nodes[2].addr, nodes[0].addr, true)
	w.set(nodes[2].addr, nodes[1].addr, true)
	agree(t, nodes[:2]...)
	t.Logf("a vanished host was seen by all after %v", time.Since(began).Round(time.Millisecond))
	// The node that is cut off says so before it lists only itself.
	testkit.Eventually(t, 10*time.Second, func() error {
		if v := nodes[2].view(); v != "c" {
			return fmt.Errorf("c lists %q", v)
		}
		return nil
	})
	calls := nodes[2].calls()
	lost := slices.IndexFunc(calls, func(s string) bool { return strings.HasPrefix(s, "link memberlist") })
	if lost < 0 || slices.Contains(calls[slices.Index(calls, "members a b c"):lost], "members c") {
		t.Errorf("c was told %q, want the loss of the link before the members shrink", calls)
	}
	w.set(nodes[2].addr, nodes[0].addr, false)
	w.set(nodes[2].addr, nodes[1].addr, false)
	began = time.Now()
	agree(t, nodes...)
	t.Logf("healed after %v", time.Since(began).Round(time.Millisecond))
}

func TestReattachesToAllAtOnce(t *testing.T) {
	w, nodes := cuttableNodes(t, "a", "b", "c", "d")
	cut := func(cut bool) {
		for _, n := range nodes[1:] {
			w.set(nodes[0].addr, n.addr, cut)
		}
	}
	cut(true)
	testkit.Eventually(t, 10*time.Second, func() error {
		if v := nodes[0].view(); v != "a" {
			return fmt.Errorf("a lists %q", v)
		}
		return nil
	})
	cut(false)
	agree(t, nodes...)
	// What is sent on attaching reaches all.
	calls := nodes[0].calls()
	lost := slices.IndexFunc(calls, func(s string) bool { return strings.HasPrefix(s, "link memberlist") })
	back := lost + slices.Index(calls[lost:], "link ok")
	members := slices.DeleteFunc(slices.Clone(calls[:back]), func(s string) bool { return !strings.HasPrefix(s, "members") })
	if last := members[len(members)-1]; last != "members a b c d" {
		t.Errorf("a is attached when it knows %q; it was told %q", last, calls)
	}
}

// The same instance leaves, or is held failed, and is opened again at its
// host's new address.
func TestBackAtAnotherAddress(t *testing.T) {
	for how, end := range map[string]func(*testNode){
		"left":   func(n *testNode) { n.stop(t) },
		"failed": (*testNode).crash,
	} {
		t.Run(how, func(t *testing.T) {
			a := start(t, spec{name: "a", cluster: "c"})
			b := spec{name: "b", cluster: "c", instance: "moves", params: map[string]string{"peers": a.addr}}
			for range 3 {
				moved := start(t, b)
				agree(t, a, moved)
				end(moved)
				testkit.Eventually(t, 10*time.Second, func() error {
					if v := a.view(); v != "a" {
						return fmt.Errorf("a lists %q", v)
					}
					return nil
				})
			}
		})
	}
}

// What is on its way to a member by a stream when its address changes, and what waits
// behind it, arrives at the new one at once, however often it changes. The streams to the
// old ones end.
func TestStreamToAnOldAddressEnds(t *testing.T) {
	nodes := startAll(t, spec{cluster: "c"}, "a", "b")
	a, b := nodes[0], nodes[1]
	now := a.roster.named(nodeName(b.self))
	before, old := silentHost(t, now)
	a.sender.readdress(before) // if there is a courier already
	frames := [][]byte{bytes.Repeat([]byte{0x0a, 1}, 2000), bytes.Repeat([]byte{0x0a, 2}, 2000)}
	for _, f := range frames {
		m := copied(f)
		if _, err := a.sender.deliver(before, m, true); err != nil {
			t.Fatal(err)
		}
		m.release()
	}
	var streams []net.Conn
	for range 3 {
		conn, err := old.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close() //nolint:errcheck // the other end has closed it
		if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		streams = append(streams, conn)
		before, old = silentHost(t, now)
		a.sender.readdress(before)
	}
	a.sender.readdress(now)
	testkit.Eventually(t, 3*time.Second, func() error { // a stream takes ten seconds by itself
		for i, f := range frames {
			if b.got(f) != 1 {
				return fmt.Errorf("b has frame %d %d times", i, b.got(f))
			}
		}
		return nil
	})
	for _, conn := range streams {
		_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a stream to an old address is still open")
		}
	}
}

// A member that no stream reached at its old address is not held out of reach at the new
// one: what is for it goes straight there, and not by a member that may know the old one.
func TestNewAddressIsTriedFirst(t *testing.T) {
	w, nodes := cuttableNodes(t, "a", "b", "c")
	a, b, c := nodes[0], nodes[1], nodes[2]
	now := a.roster.named(nodeName(b.self))
	before, nobody := *now, newHost()
	before.Addr, before.node.Addr = netip.AddrPortFrom(nobody, 9094).String(), nobody.AsSlice()
	send := func(frame []byte, final bool) delivery {
		t.Helper()
		m := copied(frame)
		defer m.release()
		d, err := a.sender.deliver(&before, m, final)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	a.sender.readdress(&before) // if there is a courier already
	if err := send(bytes.Repeat([]byte{0x0a, 1}, 2000), true).result(t.Context()); err == nil {
		t.Fatal("a frame was brought to where nobody is")
	}
	w.set(b.addr, c.addr, true)         // so that c cannot pass anything on
	a.sender.answered(now, time.Second) // so that a stream may be slow on a busy machine
	a.sender.readdress(now)
	way := a.sender.path(now)
	way.mu.Lock()
	way.doubted = true // as while the first ping to the new one is late
	way.mu.Unlock()
	if a.sender.unreachable(now) {
		t.Error("what failed at the old address is held against the new one")
	}
	frame := bytes.Repeat([]byte{0x0a, 2}, 2000)
	send(frame, false)
	testkit.Eventually(t, 5*time.Second, func() error {
		if b.got(frame) != 1 {
			return fmt.Errorf("b has the frame %d times", b.got(frame))
		}
		return nil
	})
}

// What was learned of the way to a member ends with its address: packets go to the new
// one, though those to the old one got no answer.
func TestPathFollowsTheAddress(t *testing.T) {
	nodes := startAll(t, spec{cluster: "c"}, "a", "b")
	a, b := nodes[0], nodes[1]
	now := a.roster.named(nodeName(b.self))
	before, nobody := *now, newHost()
	before.Addr, before.node.Addr = netip.AddrPortFrom(nobody, 9094).String(), nobody.AsSlice()
	_ = a.sender.byPacket(&before, []byte("\x0alost"), true) // nobody is there
	testkit.Eventually(t, 3*time.Second, func() error {
		if a.sender.packetsPass(&before) {
			return errors.New("packets to nobody are answered")
		}
		return nil
	})
	if !a.sender.packetsPass(now) {
		t.Error("what was learned of the old address is held against the new one")
	}
}

// A member that another one calls dead is asked, and stays: it answers, and denies it.
// The link is not lost meanwhile, though nobody else is there.
func TestDeathNoticeIsChecked(t *testing.T) {
	later := netip.AddrPortFrom(newHost(), 9094).String()
	a := start(t, spec{name: "a", cluster: "c", params: map[string]string{"peers": later}})
	testkit.Eventually(t, 5*time.Second, func() error {
		if l := a.lastLink(); !strings.Contains(l, "refused") {
			return fmt.Errorf("link %q", l)
		}
		return nil
	})
	b := start(t, spec{name: "b", cluster: "c", listen: later, params: map[string]string{"peers": a.addr}})
	agree(t, a, b)
	var notice bytes.Buffer
	if err := codec.NewEncoder(&notice, &codec.MsgpackHandle{}).Encode(map[string]any{"Incarnation": 100, "Node": nodeName(b.self), "From": "other"}); err != nil {
		t.Fatal(err)
	}
	before := len(a.calls())
	packet(t, a.addr, append([]byte("\xf4\x01c\x05"), notice.Bytes()...))
	testkit.Eventually(t, 5*time.Second, func() error {
		if !strings.Contains(b.logs.String(), "Refuting a dead message") {
			return errors.New("b has not heard that it is dead")
		}
		return nil
	})
	agree(t, a, b)
	for _, told := range a.calls()[before:] {
		if told != "members a b" && told != "link ok" {
			t.Errorf("a was told %q", told)
		}
	}
}

// cuttableNodes opens nodes on a network that can be cut.
func cuttableNodes(t *testing.T, all ...string) (*network, []*testNode) {
	t.Helper()
	w := newNetwork()
	var nodes []*testNode
	for _, name := range all {
		s := spec{name: name, cluster: "c", listen: newHost().String() + ":9094"}
		if len(nodes) > 0 {
			s.params = map[string]string{"peers": nodes[0].addr}
		}
		s.hooks.wrap = w.at(s.listen)
		nodes = append(nodes, start(t, s))
	}
	agree(t, nodes...)
	return w, nodes
}

func TestSlowPeerDelaysNobody(t *testing.T) {
	w, nodes := cuttableNodes(t, "a", "b", "c")
	w.set(nodes[0].addr, nodes[2].addr, true)
	began := time.Now()
	for i := range 20 {
		if err := nodes[0].Broadcast(t.Context(), bytes.Repeat([]byte{0x0a, byte(i)}, 4000)); err != nil {
			t.Logf("broadcast %d: %v", i, err)
		}
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("20 broadcasts with a member that reads nothing took %v", d)
	}
	testkit.Eventually(t, 5*time.Second, func() error {
		for i := range 20 {
			if nodes[1].got(bytes.Repeat([]byte{0x0a, byte(i)}, 4000)) == 0 {
				return fmt.Errorf("b has no frame %d", i)
			}
		}
		return nil
	})
}

func TestCloseWithADoneContext(t *testing.T) {
	nodes := startAll(t, spec{cluster: "c"}, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := nodes[1].Close(ctx); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("Close took %v", d)
	}
	if err := nodes[1].Broadcast(t.Context(), []byte("\x0a")); !errors.Is(err, driver.ErrClosed) {
		t.Errorf("Broadcast after Close: %v, want ErrClosed", err)
	}
}
