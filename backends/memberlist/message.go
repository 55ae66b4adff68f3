package memberlist

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log"
	"net"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// Messages are framed as memberlist frames them, but bypass it. For streams it
// allocates a buffer of the message's size for each receiver and for each
// message received, which costs more than the transport itself; it hands a
// packet from goroutine to goroutine twice. Encrypted messages, and packets
// that hold several, are left to memberlist.

// message is sent to, or received from, other members. It is not modified.
type message struct {
	buf   bytes.Buffer
	users atomic.Int32
}

// messages keeps buffers for reuse, until memory is short. Small ones are not
// worth keeping.
var messages = sync.Pool{New: func() any { return new(message) }}

const smallMessage = 16 << 10

// newMessage returns an empty message for one user, which will hold about size
// bytes.
func newMessage(size int) *message {
	m := new(message)
	if size > smallMessage {
		m = messages.Get().(*message)
	}
	m.users.Store(1)
	return m
}

// copied returns a message that holds b.
func copied(b []byte) *message {
	m := newMessage(len(b))
	m.buf.Grow(len(b))
	_, _ = m.buf.Write(b) // never fails
	return m
}

func (m *message) bytes() []byte { return m.buf.Bytes() }

// hold adds a user.
func (m *message) hold() { m.users.Add(1) }

// Each user calls release once, when it no longer reads the message.
func (m *message) release() {
	if m.users.Add(-1) == 0 && m.buf.Cap() > smallMessage {
		m.buf.Reset()
		messages.Put(m)
	}
}

// lazy is a message that may not be needed: b is copied when it is.
type lazy struct {
	b []byte
	m *message
}

func onDemand(b []byte) *lazy { return &lazy{b: b} }

func (l *lazy) message() *message {
	if l.m == nil {
		l.m = copied(l.b)
	}
	return l.m
}

func (l *lazy) release() {
	if l.m != nil {
		l.m.release()
	}
}

// The first bytes of what memberlist sends, and the largest message that it
// accepts.
const (
	messageMark = 8
	crcMark     = 12
	labelMark   = 244
	maxMessage  = 20 << 20
)

// headerReader reads no more than a header has, and, being a ByteScanner, no more of
// it than the decoder needs.
type headerReader struct {
	in   *bufio.Reader
	left int
}

// maxHeader is above what a header takes, a map of one number.
const maxHeader = 64

var errHeader = fmt.Errorf("it has more than %d bytes", maxHeader)

func (h *headerReader) Read(b []byte) (int, error) {
	if h.left == 0 {
		return 0, errHeader
	}
	n, err := h.in.Read(b[:min(len(b), h.left)])
	h.left -= n
	return n, err
}

func (h *headerReader) ReadByte() (byte, error) {
	if h.left == 0 {
		return 0, errHeader
	}
	b, err := h.in.ReadByte()
	if err == nil {
		h.left--
	}
	return b, err
}

func (h *headerReader) UnreadByte() error {
	err := h.in.UnreadByte()
	if err == nil {
		h.left++
	}
	return err
}

// messageHeader is memberlist's.
type messageHeader struct{ UserMsgLen int }

func writeMessage(conn net.Conn, label string, b []byte) error {
	head := bytes.NewBuffer(append(opening(label), make([]byte, 0, 64)...))
	if err := codec.NewEncoder(head, &codec.MsgpackHandle{}).Encode(&messageHeader{len(b)}); err != nil {
		return err
	}
	if len(b) <= smallMessage {
		_, err := conn.Write(append(head.Bytes(), b...))
		return err
	}
	if _, err := conn.Write(head.Bytes()); err != nil {
		return err
	}
	_, err := conn.Write(b)
	return err
}

// opening begins a stream that carries a message, and a packet without a
// checksum.
func opening(label string) []byte {
	if label == "" {
		return []byte{messageMark}
	}
	return append(append([]byte{labelMark, byte(len(label))}, label...), messageMark)
}

// receiver picks the messages from what other members send.
type receiver struct {
	opening   []byte
	strangers *log.Logger
	notify    func(b []byte) // must not keep b

	// hold counts the bytes that reading a message will take; see entrance.hold.
	hold func(conn net.Conn, n int) (end func(), ok bool)
}

// packet handles b if it carries one message and nothing else, and reports
// whether it did. The caller may reuse b.
func (r *receiver) packet(b []byte) bool {
	b, ours := bytes.CutPrefix(b, r.opening[:len(r.opening)-1])
	if !ours {
		return false
	}
	if len(b) >= crcOverhead && b[0] == crcMark {
		sum := binary.BigEndian.Uint32(b[1:])
		if b = b[crcOverhead:]; crc32.ChecksumIEEE(b) != sum {
			return false
		}
	}
	if len(b) == 0 || b[0] != messageMark {
		return false
	}
	r.notify(b[1:])
	return true
}

// stream reads a message from a stream, and closes it, and reports whether it did. If
// the stream carries no message, nothing is read of it.
func (r *receiver) stream(conn net.Conn, in *bufio.Reader) bool {
	if !r.begins(in) {
		return false
	}
	err := r.read(in, func(size int) (func(), bool) { return r.hold(conn, size) })
	if err != nil && !errors.Is(err, net.ErrClosed) {
		r.strangers.Printf("[ERR] memberlist: failed to receive a message: %v from=%s", err, conn.RemoteAddr())
	}
	_ = conn.Close() // it was read, or is broken
	return true
}

// begins reports whether a message follows. It reads no more than it needs to
// know.
func (r *receiver) begins(in *bufio.Reader) bool {
	for i, want := range r.opening {
		if b, err := in.Peek(i + 1); err != nil || b[i] != want {
			return false
		}
	}
	_, err := in.Discard(len(r.opening))
	return err == nil
}

// firstPart is what a message is given room for before any of it has arrived.
const firstPart = 64 << 10

// read allocates memory as the message arrives, at most four times of that: a
// stranger may have written its length. It asks hold for that before.
func (r *receiver) read(in *bufio.Reader, hold func(int) (func(), bool)) error {
	var header messageHeader
	if err := codec.NewDecoder(&headerReader{in, maxHeader}, &codec.MsgpackHandle{}).Decode(&header); err != nil {
		return fmt.Errorf("its header: %w", err)
	}
	size := header.UserMsgLen
	if size < 0 || size > maxMessage {
		return fmt.Errorf("a length of %d; at most %d are valid", size, maxMessage)
	}
	end, ok := hold(size)
	if !ok {
		return errors.New("its source has too many under way")
	}
	defer end()
	m := newMessage(size)
	defer m.release()
	for have := 0; have < size; have = m.buf.Len() {
		part := min(size-have, max(3*have, firstPart))
		m.buf.Grow(part)
		b := m.buf.AvailableBuffer()[:part]
		n, err := io.ReadFull(in, b)
		_, _ = m.buf.Write(b[:n]) // where it is already
		if err != nil {
			return fmt.Errorf("%d of %d bytes: %w", m.buf.Len(), size, err)
		}
	}
	if size > 0 {
		r.notify(m.bytes())
	}
	return nil
}
