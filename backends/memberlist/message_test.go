package memberlist

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// header is how a message of size bytes begins.
func header(t testing.TB, label string, size int) []byte {
	t.Helper()
	head := bytes.NewBuffer(opening(label))
	if err := codec.NewEncoder(head, &codec.MsgpackHandle{}).Encode(&messageHeader{size}); err != nil {
		t.Fatal(err)
	}
	return head.Bytes()
}

// A message shares its buffer among its receivers, and reuses that of an
// earlier one; none may see another's bytes.
func TestMessagesKeepTheirBytes(t *testing.T) {
	for _, label := range []string{"", "a label"} {
		nodes := startAll(t, spec{cluster: "c", params: map[string]string{"label": label}}, "a", "b", "c", "d")
		const each = 20
		frame := func(from, i int) []byte {
			return bytes.Repeat([]byte{0x0a, byte(from), byte(i), 1}, 5_000*(1+i%7))
		}
		done := make(chan error, len(nodes))
		for from, n := range nodes {
			go func() {
				var err error
				for i := range each {
					err = errors.Join(err, n.Broadcast(t.Context(), frame(from, i)))
				}
				done <- err
			}()
		}
		for range nodes {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		testkit.Eventually(t, 10*time.Second, func() error {
			for to, n := range nodes {
				for from := range nodes {
					for i := range each {
						if from != to && n.got(frame(from, i)) != 1 {
							return fmt.Errorf("%s has frame %d of %s %d times", n.self.Name, i, nodes[from].self.Name, n.got(frame(from, i)))
						}
					}
				}
			}
			return nil
		})
	}
}

// An incomplete message is logged, and harms nothing, in a cluster whose label
// is its name.
func TestBrokenMessages(t *testing.T) {
	for name, c := range map[string]struct {
		sent []byte
		want string
	}{
		"cut short":      {append(header(t, "c", 100_000), 1, 2, 3), "3 of 100000 bytes"},
		"too long":       {header(t, "c", maxMessage+1), "a length of 20971521; at most 20971520 are valid"},
		"negative":       {header(t, "c", -1), "a length of -1"},
		"a wrong header": {append(opening("c"), 0xc1), "its header"},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, spec{name: "a", cluster: "c"})
			conn, err := net.Dial("tcp", n.addr)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write(c.sent); err != nil {
				t.Fatal(err)
			}
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, conn); err != nil {
				t.Logf("the node ends it by %v", err)
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			testkit.Eventually(t, 5*time.Second, func() error {
				if log := n.logs.String(); !strings.Contains(log, "failed to receive a message") || !strings.Contains(log, c.want) {
					return fmt.Errorf("%q is not told", c.want)
				}
				return nil
			})
		})
	}
}

// A packet is handled if it carries one message of this cluster; the rest is
// left to memberlist.
func TestPackets(t *testing.T) {
	sum := func(b string) string {
		return string(binary.BigEndian.AppendUint32([]byte{crcMark}, crc32.ChecksumIEEE([]byte(b)))) + b
	}
	for name, c := range map[string]struct {
		label, packet string
		want          string // empty: not taken
	}{
		"plain":               {"", "\x08message", "message"},
		"with a checksum":     {"", sum("\x08message"), "message"},
		"with both":           {"c", "\xf4\x01c" + sum("\x08message"), "message"},
		"a wrong checksum":    {"", "\x0c0000\x08message", ""},
		"another label":       {"c", "\xf4\x01d\x08message", ""},
		"no label":            {"c", "\x08message", ""},
		"a label unasked":     {"", "\xf4\x01c\x08message", ""},
		"other news":          {"", sum("\x07\x01"), ""},
		"empty":               {"", "", ""},
		"a checksum alone":    {"", sum(""), ""},
		"less than its sum":   {"", "\x0c00", ""},
		"a label alone":       {"c", "\xf4\x01c", ""},
		"less than its label": {"c", "\xf4\x01", ""},
	} {
		got := ""
		r := receiver{opening: opening(c.label), notify: func(b []byte) { got = string(b) }}
		if taken := r.packet([]byte(c.packet)); got != c.want || taken != (c.want != "") {
			t.Errorf("%s: %q is taken (%v) as %q, want %q", name, c.packet, taken, got, c.want)
		}
	}
}

// A message takes little more memory than it is long, and one of which little
// arrives takes little.
func TestMessagesTakeWhatArrives(t *testing.T) {
	const size = 1 << 20
	for _, c := range []struct{ claimed, arrives, most int }{
		{size, size, size * 3 / 2},
		{maxMessage, 3, 2 * firstPart},
		{maxMessage, firstPart + 1, 6 * firstPart},
	} {
		sent := append(header(t, "", c.claimed)[1:], make([]byte, c.arrives)...)
		in, handed := bufio.NewReader(bytes.NewReader(sent)), 0
		r := receiver{notify: func(b []byte) { handed = len(b) }}
		runtime.GC() // twice, so that no buffer is left to be used again
		runtime.GC()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := r.read(in, unbounded)
		runtime.ReadMemStats(&after)
		if whole := c.arrives == c.claimed; (err == nil) != whole || whole && handed != size {
			t.Errorf("%d of %d bytes: %v, and %d are handed on", c.arrives, c.claimed, err, handed)
		}
		if took := int(after.TotalAlloc - before.TotalAlloc); took > c.most && !raced {
			t.Errorf("%d of %d bytes take %d bytes of memory, want at most %d", c.arrives, c.claimed, took, c.most)
		}
	}
}

// FuzzMessage checks that a receiver allocates memory only for what arrives,
// and hands on only complete messages.
func FuzzMessage(f *testing.F) {
	f.Add([]byte{})
	f.Add(append(header(f, "", 3)[1:], 1, 2, 3))
	f.Add(header(f, "", maxMessage)[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		handed := -1
		r := receiver{notify: func(m []byte) {
			handed = len(m)
			if !bytes.Contains(b, m) {
				t.Errorf("%q is handed on, of %q", m, b)
			}
		}}
		if err := r.read(bufio.NewReader(bytes.NewReader(b)), unbounded); err != nil && handed >= 0 {
			t.Errorf("%d bytes are handed on of what is broken: %v", handed, err)
		}
	})
}

// FuzzPacket checks that a receiver hands on nothing but the end of a packet.
func FuzzPacket(f *testing.F) {
	f.Add("", []byte{messageMark, 1, 2})
	f.Add("c", []byte{labelMark, 1, 'c', crcMark, 0, 0, 0, 0, messageMark})
	f.Fuzz(func(t *testing.T, label string, b []byte) {
		if len(label) > 255 {
			return // no settings have such a label
		}
		handed := false
		r := receiver{opening: opening(label), notify: func(m []byte) {
			if handed = true; !bytes.HasSuffix(b, m) {
				t.Errorf("%q is handed on, of %q", m, b)
			}
		}}
		if taken := r.packet(b); taken != handed {
			t.Errorf("%q: taken %v, handed on %v", b, taken, handed)
		}
	})
}

func unbounded(int) (func(), bool) { return func() {}, true }
