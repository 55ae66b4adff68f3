package memberlist

import (
	"bytes"
	"compress/lzw"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// rejected waits until a node has rejected something for a reason.
func rejected(t *testing.T, n *testNode, reason, text string) {
	t.Helper()
	testkit.Eventually(t, 5*time.Second, func() error {
		if !slices.ContainsFunc(n.calls(), func(c string) bool {
			return strings.HasPrefix(c, "reject "+reason+": ") && strings.Contains(c, text)
		}) {
			return fmt.Errorf("%q is not rejected as %s", text, reason)
		}
		return nil
	})
}

// from dials a node from an address of a stranger's own.
func from(t *testing.T, ip, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func packet(t *testing.T, to string, b []byte) {
	t.Helper()
	conn, err := net.Dial("udp", to)
	if err == nil {
		_, err = conn.Write(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close() // it is sent
}

func TestForeignLabelsAreCounted(t *testing.T) {
	a := start(t, spec{name: "a", cluster: "c"})
	packet(t, a.addr, []byte("\xf4\x05other\x08x"))
	rejected(t, a, "cluster", `cluster label mismatch: a packet from 127.0.0.1`)
	_, _ = from(t, "127.0.0.1", a.addr).Write([]byte("\xf4\x06strm##\x08"))
	rejected(t, a, "cluster", `has the label "strm##"`)
	packet(t, a.addr, []byte("\x08without a label"))
	rejected(t, a, "cluster", `has the label ""`)
	packet(t, a.addr, []byte("GET / HTTP/1.1"))
	rejected(t, a, "malformed", "is none of memberlist's")
	_, _ = from(t, "127.0.0.1", a.addr).Write([]byte("\x16\x03\x01"))
	rejected(t, a, "malformed", "speaks TLS")
}

// A stranger that begins many exchanges and ends none keeps nobody from joining.
func TestStalledExchanges(t *testing.T) {
	a := start(t, spec{name: "a", cluster: "c"})
	for range 150 {
		_, _ = from(t, "127.9.9.9", a.addr).Write([]byte("\xf4\x01c\x06"))
	}
	rejected(t, a, "overflow", fmt.Sprintf("%d exchanges of 127.9.9.9/32 are pending", sourceExchanges))
	b := start(t, spec{name: "b", cluster: "c", params: map[string]string{"peers": a.addr}})
	testkit.Eventually(t, 3*time.Second, func() error { // before the stalled ones end
		if v := b.view(); v != "a b" {
			return fmt.Errorf("b lists %q", v)
		}
		return nil
	})
}

// Connections of one source that say nothing are bounded, and do not outlive the bound
// of a stream.
func TestSilentConnections(t *testing.T) {
	a := start(t, spec{name: "a", cluster: "c", params: map[string]string{"tcp_timeout": "1s"}})
	for range sourceConnections + 20 {
		from(t, "127.9.9.9", a.addr)
	}
	rejected(t, a, "overflow", fmt.Sprintf("%d connections of 127.9.9.9/32 are open", sourceConnections))
	testkit.Eventually(t, 10*time.Second, func() error {
		a.trans.mu.Lock()
		defer a.trans.mu.Unlock()
		if n := len(a.trans.conns); n > 0 {
			return fmt.Errorf("%d are still open", n)
		}
		return nil
	})
}

// A header that never ends is read no further than a header is long.
func TestEndlessHeader(t *testing.T) {
	a := start(t, spec{name: "a", cluster: "c"})
	for name, head := range map[string]string{
		"keys":   "\xf4\x01c\x08\xdf\xff\xff\xff\xff", // a map of 2^32-1 entries
		"string": "\xf4\x01c\x08\x81\xdb\xff\xff\xff\xff",
	} {
		t.Run(name, func(t *testing.T) {
			conn := from(t, "127.0.0.1", a.addr)
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, err := conn.Write([]byte(head))
			for sent := 0; err == nil; sent++ {
				if sent > 64<<10 {
					t.Fatalf("%d KiB are taken", sent)
				}
				_, err = conn.Write(bytes.Repeat([]byte("\xa3key\x01\xa3key"), 103))
			}
			if errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
	}
}

// What unpacks to much more than it is, is not unpacked.
func TestBombs(t *testing.T) {
	var packed bytes.Buffer
	w := lzw.NewWriter(&packed, lzw.LSB, 8)
	if _, err := w.Write(make([]byte, maxExchange+1)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var bomb bytes.Buffer
	if err := codec.NewEncoder(&bomb, &codec.MsgpackHandle{}).Encode(map[string]any{"Algo": 0, "Buf": packed.Bytes()}); err != nil {
		t.Fatal(err)
	}
	a := start(t, spec{name: "a", cluster: "c"})
	sent := append([]byte("\xf4\x01c\x09"), bomb.Bytes()...)
	_, _ = from(t, "127.0.0.1", a.addr).Write(sent)
	rejected(t, a, "malformed", fmt.Sprintf("more than %d bytes", maxExchange))
	if len(sent) < 60<<10 {
		packet(t, a.addr, sent)
		rejected(t, a, "malformed", fmt.Sprintf("more than %d bytes", maxUnpacked))
	}
}

// What a stranger's headers claim, and what it sends of it, takes a bounded amount of
// memory, and keeps nobody else from joining.
func TestClaimsOfOneSource(t *testing.T) {
	exchange := func(nodes, state int) string {
		var b bytes.Buffer
		if err := codec.NewEncoder(&b, &codec.MsgpackHandle{}).Encode(map[string]any{"Nodes": nodes, "UserStateLen": state, "Join": true}); err != nil {
			t.Fatal(err)
		}
		return "\xf4\x01c\x06" + b.String()
	}
	message := string(header(t, "c", maxMessage)) + strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		sent   string
		reason string
	}{
		"states":                       {exchange(0, maxMessage), ""},
		"lists":                        {exchange(19_000, 0), ""},
		"too many":                     {exchange(1<<20, 0), "claims"},
		"messages":                     {message, ""},
		"a header":                     {"\xf4\x01c\x06\x81\xdb\x7f\xff\xff\xff" + strings.Repeat("x", 8<<20), "header"},
		"a node of 8 MiB":              {exchange(1, 0) + "\x81\xdb\x7f\xff\xff\xff" + strings.Repeat("x", 8<<20), "longer"},
		"a state of less than nothing": {exchange(0, -1), "header"},
	} {
		t.Run(name, func(t *testing.T) {
			a := start(t, spec{name: "a", cluster: "c"})
			runtime.GC()
			var before, now runtime.MemStats
			runtime.ReadMemStats(&before)
			for range sourceExchanges {
				_, _ = from(t, "127.9.9.9", a.addr).Write([]byte(c.sent))
			}
			if c.reason != "" {
				rejected(t, a, "malformed", c.reason)
			}
			b := start(t, spec{name: "b", cluster: "c", params: map[string]string{"peers": a.addr}})
			testkit.Eventually(t, 3*time.Second, func() error { // before the stalled ones end
				if v := b.view(); v != "a b" {
					return fmt.Errorf("b lists %q", v)
				}
				return nil
			})
			runtime.ReadMemStats(&now)
			if taken := int(now.HeapAlloc) - int(before.HeapAlloc); taken > 3*sourceBytes/2 {
				t.Errorf("%d bytes are taken for one source, at most %d are counted", taken, sourceBytes)
			}
			if c.reason != "" {
				return
			}
			a.trans.entrance.mu.Lock()
			defer a.trans.entrance.mu.Unlock()
			if s := a.trans.entrance.sources[netip.MustParsePrefix("127.9.9.9/32")]; s == nil || s.bytes == 0 || s.bytes > sourceBytes {
				t.Errorf("what is counted of the source is %+v", s)
			}
		})
	}
}

// What one source sends at once beyond its bound waits for its turn, and is handled.
func TestLargeMessagesOfOneSource(t *testing.T) {
	a := start(t, spec{name: "a", cluster: "c"})
	const messages = 8
	var wg sync.WaitGroup
	for i := range messages {
		wg.Go(func() {
			conn := from(t, "127.9.9.9", a.addr)
			b := bytes.Repeat([]byte{byte('a' + i)}, 15<<20)
			if err := writeMessage(conn, "c", b); err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, conn) // until it is handled
		})
	}
	wg.Wait()
	a.note(func() {
		if n := len(a.frames); n != messages {
			t.Errorf("%d messages of %d are handled", n, messages)
		}
	})
	a.trans.entrance.mu.Lock()
	defer a.trans.entrance.mu.Unlock()
	if n := len(a.trans.entrance.sources); n != 0 {
		t.Errorf("%d sources are counted, and nothing is open", n)
	}
}

// Who invents members is believed up to a bound; those that are known go on.
func TestInventedMembersAreBounded(t *testing.T) {
	a := start(t, spec{name: "a", cluster: "c"})
	agree(t, a) // it serves, else nothing is told
	d := &delegate{roster: a.roster, gate: &a.gate}
	told := func(i int) error { return d.NotifyAlive(&ml.Node{Name: fmt.Sprint("invented-", i)}) }
	for i := range maxMembers - 1 { // and itself
		if err := told(i); err != nil {
			t.Fatalf("member %d: %v", i, err)
		}
		a.roster.mu.Lock()
		a.roster.alive[fmt.Sprint("invented-", i)] = &member{}
		a.roster.mu.Unlock()
	}
	defer func() { // they are nobody's
		a.roster.mu.Lock()
		defer a.roster.mu.Unlock()
		for i := range maxMembers {
			delete(a.roster.alive, fmt.Sprint("invented-", i))
		}
	}()
	if err := told(maxMembers); err == nil {
		t.Error("one more is believed")
	}
	rejected(t, a, "overflow", fmt.Sprint(maxMembers))
	if err := told(7); err != nil {
		t.Errorf("a known one is refused: %v", err)
	}
}
