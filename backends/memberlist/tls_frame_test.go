package memberlist

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
)

// What Alertmanager writes.
const (
	theirStream = "\x08\x00\x00\x00" + "\x0a\x06v0.1.0"
	theirPacket = "\x1e\x00\x00\x00" + "\x0a\x06v0.1.0" + "\x10\x01" + "\x1a\x0e127.0.0.1:9094" + "\x22\x02hi"
)

func TestTLSFramesAreAlertmanagers(t *testing.T) {
	for want, f := range map[string]tlsFrame{
		theirStream: {kind: tlsStream},
		theirPacket: {kind: tlsPacket, from: "127.0.0.1:9094", packet: []byte("hi")},
	} {
		ours, theirs := net.Pipe()
		written := make(chan []byte, 1)
		go func() {
			b, _ := io.ReadAll(theirs)
			written <- b
		}()
		if err := writeTLSFrame(ours, f); err != nil {
			t.Fatal(err)
		}
		if err := ours.Close(); err != nil {
			t.Fatal(err)
		}
		if got := <-written; string(got) != want {
			t.Errorf("%+v is written as %q, want %q", f, got, want)
		}
		got, err := readTLSFrame(strings.NewReader(want))
		if err != nil || got.kind != f.kind || got.from != f.from || !bytes.Equal(got.packet, f.packet) {
			t.Errorf("%q is read as %+v, %v", want, got, err)
		}
	}
}

func TestTLSFramesRefused(t *testing.T) {
	for frame, says := range map[string]string{
		"\xff\xff\xff\x7f":                                 "at most",
		"\x08\x00\x00\x00" + "\x0a\x06v0.2.0":              `version "v0.2.0"`,
		"\x0a\x00\x00\x00" + "\x0a\x06v0.1.0" + "\x10\x01": "an empty packet",
		"\x0a\x00\x00\x00" + "\x0a\x06v0.1.0" + "\x10\x02": "neither a stream nor a packet",
		"\x03\x00\x00\x00" + "\x0a\x09v":                   "unexpected EOF",
		"\x03\x00\x00\x00" + "\x0a":                        "EOF",
	} {
		if f, err := readTLSFrame(strings.NewReader(frame)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %+v, %v, want an error that says %q", frame, f, err, says)
		}
	}
}

func FuzzParseTLSFrame(f *testing.F) {
	f.Add([]byte(theirStream[4:]))
	f.Add([]byte(theirPacket[4:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := parseTLSFrame(b); err == nil && got.kind == tlsPacket && len(got.packet) == 0 {
			t.Errorf("an empty packet is accepted: %q", b)
		}
	})
}
