package memberlist

import (
	"bufio"
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// entrance sees what comes in before memberlist does, which takes whatever a
// stranger's header claims. It refuses what has another label, bounds how much is
// read and kept of one stream and one source, and notices goodbyes.
type entrance struct {
	label   string
	opaque  bool // what comes in is encrypted
	timeout time.Duration
	reject  func(driver.Reason, error)
	leaving func(node string) // told of a goodbye that memberlist does not tell from a failure

	mu      sync.Mutex
	sources map[netip.Prefix]*source
}

// source is what one address, or one network of IPv6, has open here.
type source struct {
	connections, exchanges int

	bytes int           // that large messages, states and lists take while they are read
	freed chan struct{} // closed and replaced when there are fewer; nil: nobody waits
}

const (
	sourceConnections = 512            // of one source, open at a time
	sourceExchanges   = 32             // of lists and states, likewise; memberlist allows 128 in all
	sourceBytes       = 3 * maxMessage // of what is being read, at a time; more waits for its turn
	nodeBytes         = 2 << 10        // that one of a list takes at most, with its name and its metadata

	maxExchange = 40 << 20  // bytes of a list of members and a state
	maxOther    = 64 << 10  // bytes of any other stream that memberlist reads
	maxUnpacked = 256 << 10 // bytes of a packet that came compressed
)

// The first bytes of what memberlist sends, besides those in message.go.
const (
	deadMark     = 5
	pushPullMark = 6
	compoundMark = 7
	compressMark = 9
	encryptMark  = 10
	lastMark     = 13
	tlsHandshake = 22
)

func sourceOf(conn net.Conn) netip.Prefix {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	ip, bits := at.Addr().Unmap().WithZone(""), 32
	if ip.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(ip, bits).Masked()
}

// admit counts a connection. The caller calls leave when it is closed, if it is
// admitted.
func (e *entrance) admit(from netip.Prefix) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.source(from)
	if s.connections >= sourceConnections {
		return false
	}
	s.connections++
	return true
}

func (e *entrance) leave(from netip.Prefix) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.sources[from]; s != nil {
		s.connections--
		e.forget(from, s)
	}
}

// exchange counts an exchange of an admitted connection, and returns what ends it.
func (e *entrance) exchange(from netip.Prefix) (end func(), ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sources[from]
	if s == nil || s.exchanges >= sourceExchanges {
		return nil, false
	}
	s.exchanges++
	return sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		s.exchanges--
	}), true
}

// hold counts bytes that reading something of an admitted connection will take, as
// its header claims. It waits for what the same source has sent before, for as long
// as a stream may take. The caller calls end once it is read.
func (e *entrance) hold(conn net.Conn, n int) (end func(), ok bool) {
	if n <= maxOther {
		return func() {}, true
	}
	from := sourceOf(conn)
	timer := time.NewTimer(e.timeout)
	defer timer.Stop()
	for {
		freed, ok := e.take(from, n)
		if ok {
			break
		}
		select {
		case <-freed:
		case <-timer.C:
			e.reject(driver.Overflow, fmt.Errorf("%d bytes of %s are being read, and do not end", sourceBytes, from))
			return nil, false
		}
	}
	_ = conn.SetDeadline(time.Now().Add(e.timeout)) // what is broken is noticed when it is read
	return sync.OnceFunc(func() { e.give(from, n) }), true
}

// take counts bytes if there is room for them; else freed is closed when there is more.
func (e *entrance) take(from netip.Prefix, n int) (freed <-chan struct{}, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.source(from)
	if s.bytes == 0 || s.bytes+n <= sourceBytes {
		s.bytes += n
		return nil, true
	}
	if s.freed == nil {
		s.freed = make(chan struct{})
	}
	return s.freed, false
}

func (e *entrance) give(from netip.Prefix, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.source(from)
	s.bytes -= n
	if s.freed != nil {
		close(s.freed)
		s.freed = nil
	}
	e.forget(from, s)
}

// source returns what is counted of a source. e.mu is held.
func (e *entrance) source(from netip.Prefix) *source {
	s := e.sources[from]
	if s == nil {
		s = &source{}
		e.sources[from] = s
	}
	return s
}

// forget ends the account of a source that has nothing open. e.mu is held.
func (e *entrance) forget(from netip.Prefix, s *source) {
	if s.connections == 0 && s.bytes == 0 && s.freed == nil {
		delete(e.sources, from)
	}
}

// stream looks at the beginning of a stream, and returns what there is to read, or
// nil if the stream is refused. Nothing of it is discarded.
func (e *entrance) stream(conn net.Conn) (in *bufio.Reader) {
	in = bufio.NewReader(conn)
	if conn.SetDeadline(time.Now().Add(e.timeout)) != nil {
		return nil
	}
	first, err := in.Peek(1)
	if err != nil {
		return nil // somebody looked whether the port is open
	}
	var label []byte
	if first[0] == labelMark {
		size, err := in.Peek(2)
		if err == nil {
			label, err = in.Peek(2 + int(size[1]))
		}
		if err != nil {
			e.reject(driver.Malformed, fmt.Errorf("a stream with a damaged label from %s", conn.RemoteAddr()))
			return nil
		}
		label = label[2:]
	}
	if string(label) != e.label {
		e.reject(mismatch(first[0], label, fmt.Sprintf("a stream from %s", conn.RemoteAddr())))
		return nil
	}
	return in
}

// mismatch says what is wrong with something that has another label.
func mismatch(first byte, label []byte, what string) (driver.Reason, error) {
	switch {
	case first == tlsHandshake:
		return driver.Malformed, fmt.Errorf("%s speaks TLS: set tls_config_file on all nodes, or on none", what)
	case first > lastMark && first != labelMark:
		return driver.Malformed, fmt.Errorf("%s is none of memberlist's", what)
	}
	return driver.Foreign, fmt.Errorf("cluster label mismatch: %s has the label %q", what, label)
}

// forMemberlist bounds a stream that memberlist reads. It closes conn if that is
// refused.
func (e *entrance) forMemberlist(conn net.Conn, in *bufio.Reader) net.Conn {
	skip := 0
	if e.label != "" {
		skip = labelOverhead + len(e.label)
	}
	head, err := in.Peek(skip + 1)
	if err != nil {
		_ = conn.Close() // there is no more to come
		return nil
	}
	bounded := &boundedStream{Conn: conn, end: func() {}}
	switch mark := head[skip]; mark {
	case pushPullMark, encryptMark, compressMark:
		end, ok := e.exchange(sourceOf(conn))
		if !ok {
			e.reject(driver.Overflow, fmt.Errorf("%d exchanges of %s are pending", sourceExchanges, sourceOf(conn)))
			_ = conn.Close() // the peer tries again
			return nil
		}
		size, err := claimed(in, skip)
		if err == nil && size > maxExchange {
			err = fmt.Errorf("it claims %d bytes; at most %d are valid", size, maxExchange)
		}
		if err != nil {
			e.reject(driver.Malformed, fmt.Errorf("an exchange from %s: %w", conn.RemoteAddr(), err))
			end()
			_ = conn.Close() // it is of no use
			return nil
		}
		free, ok := e.hold(conn, size)
		if !ok {
			end()
			_ = conn.Close() // the peer tries again
			return nil
		}
		bounded.end, bounded.in = func() { end(); free() }, io.LimitReader(in, maxExchange)
		if mark == pushPullMark {
			arrived, err := arrive(in, skip)
			if err != nil {
				e.reject(driver.Malformed, fmt.Errorf("an exchange from %s: %w", conn.RemoteAddr(), err))
				_ = bounded.Close() // it is of no use
				return nil
			}
			bounded.in = io.MultiReader(arrived, io.LimitReader(in, maxOther))
		}
		if mark == compressMark {
			label := bytes.Clone(head[:skip])
			_, _ = in.Discard(skip + 1) // they were peeked at
			plain, err := decompress(io.LimitReader(in, maxExchange), maxExchange)
			if err != nil {
				e.reject(driver.Malformed, fmt.Errorf("a stream from %s: %w", conn.RemoteAddr(), err))
				_ = bounded.Close() // it is of no use
				return nil
			}
			bounded.in = io.MultiReader(bytes.NewReader(label), bytes.NewReader(plain))
		}
	case messageMark:
		bounded.in = io.LimitReader(in, maxMessage+maxOther)
	default:
		bounded.in = io.LimitReader(in, maxOther)
	}
	return bounded
}

// exchangeHeader is memberlist's.
type exchangeHeader struct{ Nodes, UserStateLen int }

// claimed is how many bytes an exchange of lists and states takes, by its header,
// which is not read. Of what is compressed or encrypted it is the most that it may be.
func claimed(in *bufio.Reader, skip int) (int, error) {
	if head, err := in.Peek(skip + 1); err != nil || head[skip] != pushPullMark {
		return maxMessage, nil
	}
	var header exchangeHeader
	if err := codec.NewDecoder(&peeking{in: in, at: skip + 1}, &codec.MsgpackHandle{}).Decode(&header); err != nil {
		return 0, fmt.Errorf("its header: %w", err)
	}
	if header.Nodes < 0 || header.UserStateLen < 0 {
		return 0, fmt.Errorf("its header: %d nodes and a state of %d bytes", header.Nodes, header.UserStateLen)
	}
	return min(header.Nodes, maxExchange)*nodeBytes + min(header.UserStateLen, 2*maxExchange), nil
}

// arrive reads an exchange of lists and states until all of it is there: memberlist
// takes memory for what its header claims.
func arrive(in *bufio.Reader, skip int) (*bytes.Buffer, error) {
	kept := &bytes.Buffer{}
	if _, err := io.CopyN(kept, in, int64(skip+1)); err != nil {
		return nil, err
	}
	list := &keeping{in: in, kept: kept, left: maxOther}
	d := codec.NewDecoder(list, &codec.MsgpackHandle{})
	var header exchangeHeader
	if err := d.Decode(&header); err != nil {
		return nil, err
	}
	list.left = header.Nodes * nodeBytes
	for range header.Nodes {
		var node struct{}
		if err := d.Decode(&node); err != nil {
			return nil, err
		}
	}
	_, err := io.CopyN(kept, in, int64(header.UserStateLen))
	return kept, err
}

// keeping reads a stream, no more of it than is asked for and than was claimed, and
// keeps what was read.
type keeping struct {
	in   *bufio.Reader
	kept *bytes.Buffer
	left int
}

var errLongList = errors.New("its list is longer than its header claims")

func (k *keeping) Read(b []byte) (int, error) {
	if k.left <= 0 && len(b) > 0 {
		return 0, errLongList
	}
	n, err := k.in.Read(b[:min(len(b), k.left)])
	k.left -= n
	_, _ = k.kept.Write(b[:n]) // never fails
	return n, err
}

func (k *keeping) ReadByte() (byte, error) {
	if k.left <= 0 {
		return 0, errLongList
	}
	b, err := k.in.ReadByte()
	if err == nil {
		k.left--
		_ = k.kept.WriteByte(b) // never fails
	}
	return b, err
}

func (k *keeping) UnreadByte() error {
	err := k.in.UnreadByte()
	if err == nil {
		k.left++
		k.kept.Truncate(k.kept.Len() - 1)
	}
	return err
}

// peeking reads a header without taking it from the stream.
type peeking struct {
	in *bufio.Reader
	at int
}

func (p *peeking) ReadByte() (byte, error) {
	if p.at > 2*maxHeader+labelOverhead+math.MaxUint8 {
		return 0, errHeader
	}
	b, err := p.in.Peek(p.at + 1)
	if err != nil {
		return 0, err
	}
	p.at++
	return b[p.at-1], nil
}

func (p *peeking) UnreadByte() error { p.at--; return nil }

func (p *peeking) Read(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		if b[n], err = p.ReadByte(); err == nil {
			n++
		}
	}
	return n, err
}

// boundedStream is a stream of which no more than a bound is read.
type boundedStream struct {
	net.Conn
	in  io.Reader
	end func()
}

func (s *boundedStream) Read(b []byte) (int, error) { return s.in.Read(b) }

func (s *boundedStream) Close() error {
	s.end()
	return s.Conn.Close()
}

// packet returns what memberlist is to see of a packet, or nil.
func (e *entrance) packet(b []byte, from net.Addr) []byte {
	body, label := b, []byte(nil)
	if b[0] == labelMark {
		if len(b) < 2 || len(b) < 2+int(b[1])+1 {
			e.reject(driver.Malformed, fmt.Errorf("a packet with a damaged label from %s", from))
			return nil
		}
		label, body = b[2:2+int(b[1])], b[2+int(b[1]):]
	}
	if string(label) != e.label {
		e.reject(mismatch(b[0], label, fmt.Sprintf("a packet from %s", from)))
		return nil
	}
	if e.opaque {
		return b
	}
	if body[0] == crcMark {
		if len(body) <= crcOverhead || crc32.ChecksumIEEE(body[crcOverhead:]) != binary.BigEndian.Uint32(body[1:]) {
			e.reject(driver.Malformed, fmt.Errorf("a packet with a wrong checksum from %s", from))
			return nil
		}
		body = body[crcOverhead:]
	}
	if body[0] == compressMark {
		plain, err := decompress(bytes.NewReader(body[1:]), maxUnpacked)
		if err != nil {
			e.reject(driver.Malformed, fmt.Errorf("a packet from %s: %w", from, err))
			return nil
		}
		head := 0
		if label != nil {
			head = labelOverhead + len(label)
		}
		b, body = append(bytes.Clone(b[:head]), plain...), plain
	}
	e.overhear(body)
	return b
}

// overhear notices the goodbyes in a message.
func (e *entrance) overhear(b []byte) {
	switch b[0] {
	case deadMark:
		var news struct {
			Node, From string
		}
		if codec.NewDecoderBytes(b[1:], &codec.MsgpackHandle{}).Decode(&news) == nil && news.Node == news.From {
			e.leaving(news.Node)
		}
	case compoundMark:
		if len(b) < 2 || len(b) < 2+2*int(b[1]) {
			return
		}
		parts := b[2+2*int(b[1]):]
		for sizes := b[2 : 2+2*int(b[1])]; len(sizes) > 0; sizes = sizes[2:] {
			size := int(binary.BigEndian.Uint16(sizes))
			if size > len(parts) {
				return
			}
			if size > 0 && parts[0] != compoundMark {
				e.overhear(parts[:size])
			}
			parts = parts[size:]
		}
	}
}

// decompress reads what memberlist has compressed, up to a limit.
func decompress(in io.Reader, limit int64) ([]byte, error) {
	var packed struct {
		Algo uint8
		Buf  []byte
	}
	if err := codec.NewDecoder(in, &codec.MsgpackHandle{}).Decode(&packed); err != nil {
		return nil, fmt.Errorf("compressed: %w", err)
	}
	const lzwAlgorithm, litWidth = 0, 8
	if packed.Algo != lzwAlgorithm {
		return nil, fmt.Errorf("compressed in the unknown way %d", packed.Algo)
	}
	r := lzw.NewReader(bytes.NewReader(packed.Buf), lzw.LSB, litWidth)
	plain, err := io.ReadAll(io.LimitReader(r, limit+1))
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("compressed: %w", err)
	case int64(len(plain)) > limit:
		return nil, fmt.Errorf("compressed: more than %d bytes", limit)
	case len(plain) == 0:
		return nil, errors.New("compressed: nothing")
	}
	return plain, nil
}
