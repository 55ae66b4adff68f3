package memberlist

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/conformance/testca"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// dials counts the streams that a node opens to one address.
type dials struct {
	ml.NodeAwareTransport
	to    string
	count atomic.Int64
}

func (d *dials) DialAddressTimeout(a ml.Address, timeout time.Duration) (net.Conn, error) {
	if a.Addr == d.to {
		d.count.Add(1)
	}
	return d.NodeAwareTransport.DialAddressTimeout(a, timeout)
}

// silentHost listens, takes all and says nothing. It returns a member that is there and
// otherwise is p.
func silentHost(t *testing.T, p *member) (*member, *net.TCPListener) {
	t.Helper()
	ln, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(newHost(), 9094)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	_ = ln.SetDeadline(time.Now().Add(10 * time.Second)) // who waits for a stream that does not come is told
	there, at := *p, ln.Addr().(*net.TCPAddr)
	there.Addr, there.node.Addr, there.node.Port = at.String(), at.IP, uint16(at.Port)
	return &there, ln
}

// What queues up for a member while a stream to it is under way goes by one stream, not by
// one each, and in order. What is large goes by itself.
func TestWhatWaitsGoesTogether(t *testing.T) {
	for name, params := range map[string]map[string]string{
		"plain":     {},
		"encrypted": {"encryption_keys": base64.StdEncoding.EncodeToString(make([]byte, 32))},
		"TLS":       {"tls_config_file": testca.GossipFile(t, t.TempDir())},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, spec{name: "b", cluster: "c", params: params})
			d := &dials{to: b.addr}
			of := map[string]string{"peers": b.addr}
			for k, v := range params {
				of[k] = v
			}
			a := start(t, spec{name: "a", cluster: "c", params: of, hooks: hooks{
				wrap: func(t ml.NodeAwareTransport) ml.NodeAwareTransport { d.NodeAwareTransport = t; return d },
			}})
			agree(t, a, b)
			now := a.roster.named(nodeName(b.self))
			before, old := silentHost(t, now)
			a.sender.readdress(before) // if there is a courier already
			deliver := func(frame []byte) {
				m := copied(frame)
				defer m.release()
				if _, err := a.sender.deliver(before, m, true); err != nil {
					t.Fatal(err)
				}
			}
			deliver([]byte("the stream that all others wait for"))
			if _, err := old.Accept(); err != nil { // it ends with the stream
				t.Fatal(err)
			}
			var frames [][]byte
			for i := range 20 {
				frames = append(frames, bytes.Repeat([]byte{0x0a, byte(i)}, 2000))
			}
			frames = append(frames, bytes.Repeat([]byte{0x0a, 100}, bundleEach), []byte("\x0athe last"))
			for _, f := range frames {
				deliver(f)
			}
			opened := d.count.Load()
			a.sender.readdress(now)
			testkit.Eventually(t, 5*time.Second, func() error {
				b.mu.Lock()
				defer b.mu.Unlock()
				got := slices.DeleteFunc(slices.Clone(b.frames), func(f []byte) bool { return f[0] != 0x0a })
				if !slices.EqualFunc(got, frames, bytes.Equal) {
					return fmt.Errorf("b has %d of %d frames, or in another order", len(got), len(frames))
				}
				return nil
			})
			if n := d.count.Load() - opened; n > 5 { // what was under way; what waited; what is large; the last; a probe
				t.Errorf("%d frames that waited went by %d streams", len(frames), n)
			}
		})
	}
}

// A bundle hands over what it holds, and none within another, which a stranger could nest
// without end.
func TestBundles(t *testing.T) {
	for name, c := range map[string]struct {
		bundle string
		want   []string
		err    error
	}{
		"two":        {"\x00m\x01a\x03\x0abc", []string{"a", "\x0abc"}, nil},
		"an empty":   {"\x00m\x00\x01a", []string{"", "a"}, nil},
		"cut short":  {"\x00m\x01a\x04abc", []string{"a"}, errBundle},
		"no length":  {"\x00m\x01a\xff", []string{"a"}, errBundle},
		"too long":   {"\x00m\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", nil, errBundle},
		"one within": {"\x00m\x01a\x05\x00m\x02\x00m", []string{"a"}, errBundle},
	} {
		var got []string
		err := unbundle([]byte(c.bundle), func(b []byte) { got = append(got, string(b)) })
		if !errors.Is(err, c.err) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// FuzzBundle has anything taken for a bundle: what it hands over is a part of it.
func FuzzBundle(f *testing.F) {
	f.Add([]byte("\x00m\x01a\x03\x0abc"))
	f.Add([]byte("\x00m\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 2 {
			return
		}
		size := 0
		err := unbundle(b, func(one []byte) { size += len(one) })
		if size > len(b) || err != nil && !errors.Is(err, errBundle) {
			t.Errorf("%d bytes of %d, %v", size, len(b), err)
		}
	})
}
