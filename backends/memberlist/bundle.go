package memberlist

import (
	"encoding/binary"
	"errors"
)

// Several messages for one member go as one, a control message that holds each after its
// length. Only who says that it reads them is sent such: see the member's bundles.

const (
	bundleBytes = 256 << 10 // that the messages of a bundle take at most
	bundleEach  = 64 << 10  // that one of them has at most: a larger one is not copied
	bundleReads = 1         // the version of the delegate's protocol from which on bundles are read
)

// bundled is what a delivery takes of a bundle; one that goes by itself takes more than
// there is.
func bundled(d delivery) int {
	if n := len(d.message.bytes()); n <= bundleEach {
		return n + binary.MaxVarintLen32
	}
	return bundleBytes + 1
}

// bundle returns the one message that brings a load.
func bundle(load []delivery) *message {
	if len(load) == 1 {
		load[0].message.hold()
		return load[0].message
	}
	size := 0
	for _, d := range load {
		size += bundled(d)
	}
	m := newMessage(size)
	m.buf.Grow(size)
	_, _ = m.buf.Write(controlMessage(controlBundle, "")) // never fails, like the rest
	for _, d := range load {
		b := d.message.bytes()
		_, _ = m.buf.Write(binary.AppendUvarint(nil, uint64(len(b))))
		_, _ = m.buf.Write(b)
	}
	return m
}

var errBundle = errors.New("memberlist: a damaged bundle of messages")

// unbundle hands over the messages of a bundle, as far as it is none within another.
func unbundle(b []byte, notify func([]byte)) error {
	for b = b[2:]; len(b) > 0; {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return errBundle
		}
		one := b[size : size+int(n)]
		if b = b[size+int(n):]; len(one) > 1 && one[0] == controlMark && one[1] == controlBundle {
			return errBundle
		}
		notify(one)
	}
	return nil
}
