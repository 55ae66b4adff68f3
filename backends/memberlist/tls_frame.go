package memberlist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/protobuf/encoding/protowire"
)

// tlsFrame is what Alertmanager's TLS transport writes: a length in four bytes,
// little endian, and a MemberlistMessage of protocol buffers, whose fields are
//
//	string version   = 1;
//	Kind   kind      = 2; // STREAM 0, PACKET 1
//	string from_addr = 3;
//	bytes  msg       = 4;
type tlsFrame struct {
	kind   uint64
	from   string // host:port of the node that sent a packet
	packet []byte
}

const (
	tlsVersion  = "v0.1.0"
	tlsMaxFrame = packetBuffer + 1024

	tlsStream = 0
	tlsPacket = 1

	tlsFieldVersion, tlsFieldKind, tlsFieldFrom, tlsFieldPacket = 1, 2, 3, 4
)

// writeTLSFrame writes f at once.
func writeTLSFrame(conn net.Conn, f tlsFrame) error {
	b := make([]byte, 4, 4+64+len(f.packet))
	b = protowire.AppendString(protowire.AppendTag(b, tlsFieldVersion, protowire.BytesType), tlsVersion)
	if f.kind != tlsStream {
		b = protowire.AppendVarint(protowire.AppendTag(b, tlsFieldKind, protowire.VarintType), f.kind)
		b = protowire.AppendString(protowire.AppendTag(b, tlsFieldFrom, protowire.BytesType), f.from)
		b = protowire.AppendBytes(protowire.AppendTag(b, tlsFieldPacket, protowire.BytesType), f.packet)
	}
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	_, err := conn.Write(b)
	return err
}

// readTLSFrame refuses what is no frame of this version.
func readTLSFrame(in io.Reader) (tlsFrame, error) {
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return tlsFrame{}, err
	}
	n := binary.LittleEndian.Uint32(head[:])
	if n > tlsMaxFrame {
		return tlsFrame{}, fmt.Errorf("a frame of %d bytes; at most %d are valid", n, tlsMaxFrame)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(in, body); err != nil {
		return tlsFrame{}, err
	}
	return parseTLSFrame(body)
}

// parseTLSFrame keeps b. Fields that it does not know are skipped.
func parseTLSFrame(b []byte) (f tlsFrame, err error) {
	version := ""
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return tlsFrame{}, protowire.ParseError(n)
		}
		b = b[n:]
		switch {
		case number == tlsFieldVersion && kind == protowire.BytesType:
			version, n = protowire.ConsumeString(b)
		case number == tlsFieldKind && kind == protowire.VarintType:
			f.kind, n = protowire.ConsumeVarint(b)
		case number == tlsFieldFrom && kind == protowire.BytesType:
			f.from, n = protowire.ConsumeString(b)
		case number == tlsFieldPacket && kind == protowire.BytesType:
			f.packet, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return tlsFrame{}, protowire.ParseError(n)
		}
		b = b[n:]
	}
	switch {
	case version != tlsVersion:
		return tlsFrame{}, fmt.Errorf("version %q of the TLS transport; this node speaks %q", version, tlsVersion)
	case f.kind > tlsPacket:
		return tlsFrame{}, fmt.Errorf("a frame of kind %d, which is neither a stream nor a packet", f.kind)
	case f.kind == tlsPacket && len(f.packet) == 0:
		return tlsFrame{}, errors.New("an empty packet")
	}
	return f, nil
}
