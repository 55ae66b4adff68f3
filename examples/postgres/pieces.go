package postgres

import (
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// A payload of NOTIFY has less than 8000 bytes of text. A frame is sent as
// pieces of that size, in one transaction: the server keeps them together and in
// order. Each begins with its index and the number of pieces, without which the
// server would drop one that equals another.
const (
	headSize  = len("00ff")
	pieceSize = (7999 - headSize) * 3 / 4
)

// MaxFrame is the largest frame that the driver sends: a heartbeat must not wait
// for megabytes.
const MaxFrame = 128 << 10

// split returns the payloads of a frame.
func split(frame []byte) []string {
	count := max(1, (len(frame)+pieceSize-1)/pieceSize)
	payloads := make([]string, count)
	for i := range payloads {
		piece := frame[i*pieceSize : min((i+1)*pieceSize, len(frame))]
		payloads[i] = fmt.Sprintf("%02x%02x", i, count) + base64.RawStdEncoding.EncodeToString(piece)
	}
	return payloads
}

// joiner puts frames together again.
type joiner struct {
	pid   uint32 // of the sender
	next  int    // the index to come
	count int
	frame []byte
}

// add takes one notification and returns the frame that it completes, or nil.
func (j *joiner) add(n *pgconn.Notification) ([]byte, error) {
	index, count, piece, err := parsePiece(n.Payload)
	if err == nil && index == 0 {
		*j = joiner{pid: n.PID, count: count, frame: j.frame[:0]}
	}
	if err != nil || index != j.next || count != j.count || n.PID != j.pid || len(j.frame)+len(piece) > MaxFrame {
		return nil, fmt.Errorf("%q is no piece of a frame, or does not follow the one before", n.Payload[:min(len(n.Payload), headSize)])
	}
	j.next++
	if j.frame = append(j.frame, piece...); j.next < j.count {
		return nil, nil
	}
	return j.frame, nil
}

func parsePiece(payload string) (index, count int, piece []byte, err error) {
	if len(payload) < headSize {
		return 0, 0, nil, strconv.ErrSyntax
	}
	head, err := strconv.ParseUint(payload[:headSize], 16, 16)
	if err != nil {
		return 0, 0, nil, err
	}
	piece, err = base64.RawStdEncoding.DecodeString(payload[headSize:])
	return int(head >> 8), int(head & 0xff), piece, err
}
