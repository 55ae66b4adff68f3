package replicated

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// What members tell each other, a change as well as a whole state, is an update:
//
//	1 byte      version, 1
//	1 byte      length of the type's name
//	...         the name, see Options.Type
//	any number of
//	  uvarint   length of the entry
//	  ...       the entry
//
// An entry has one encoding, of which backend.EntryIDOf makes its id. Numbers have their
// greatest byte first, and times are milliseconds since 1970:
//
//	8 bytes     stamp: a time of 48 bits, and a count of 16
//	1 byte      form: 0 deleted, 1 lasting, 2 expiring
//	if deleted
//	  8 bytes   when it is forgotten
//	if expiring
//	  8 bytes   when it ends
//	  8 bytes   for how many milliseconds it is remembered from then on, at most
//	  8 bytes   when the last of all ends whose place it took; 2^63-1: never
//	2 bytes     length of the key
//	...         the key
//	...         the value, to the end of the entry; none if deleted
//
// The keys of a Counter and a Register, and the values of all, are those of their files. An
// update of a later version is refused by ErrVersion as a whole, and an entry of a later
// form by itself: what changes the meaning of either needs a new number.

// form says what an entry is. Of two with one stamp the one of the greater form wins.
type form byte

const (
	dead     form = iota // the key was deleted
	lasting              // it has a value
	expiring             // it has a value for a time
)

// entry is what is known of a key. It says itself until when it matters, so that all
// members forget it at the same time, whatever their options are.
type entry struct {
	stamp stamp
	form  form
	until uint64 // milliseconds since 1970 when a dead one is forgotten

	expires uint64 // milliseconds since 1970 when an expiring one ends, as if deleted
	keep    uint64 // for how many it is remembered at most, if others would last longer
	over    uint64 // when the last of all would end whose place it took, itself included

	key   string
	value string
}

// never is when a lasting entry ends. A deletion is taken for one of a lasting entry.
const never = 1<<63 - 1

// gone returns when an entry is forgotten, as if it never was.
func (e entry) gone() uint64 {
	switch e.form {
	case dead:
		return e.until
	case expiring:
		return e.expires + min(e.over-e.expires, e.keep)
	}
	return never
}

// outlasts returns until when what takes the place of an entry must be remembered, so that
// a member that was away does not bring back the entry, or what it took the place of.
func (e entry) outlasts() uint64 {
	if e.form == expiring {
		return e.over
	}
	return never
}

const (
	maxKey   = 1<<16 - 1
	maxTag   = 255
	version  = 1
	headSize = 8 + 1 + 2 // stamp, form and the key's length
)

// sizes of what stands between the head and the key.
var times = [...]int{dead: 8, lasting: 0, expiring: 24}

// encoded returns the one encoding of an entry.
func (e entry) encoded() string {
	var b strings.Builder
	b.Grow(headSize + times[e.form] + len(e.key) + len(e.value))
	h := make([]byte, 0, headSize+24)
	h = binary.BigEndian.AppendUint64(h, uint64(e.stamp))
	h = append(h, byte(e.form))
	switch e.form {
	case dead:
		h = binary.BigEndian.AppendUint64(h, e.until)
	case expiring:
		h = binary.BigEndian.AppendUint64(h, e.expires)
		h = binary.BigEndian.AppendUint64(h, e.keep)
		h = binary.BigEndian.AppendUint64(h, e.over)
	}
	b.Write(binary.BigEndian.AppendUint16(h, uint16(len(e.key))))
	b.WriteString(e.key)
	b.WriteString(e.value)
	return b.String()
}

// parse returns what an encoding holds; its strings are parts of it.
func parse(encoded string) (entry, error) {
	var e entry
	if len(encoded) < headSize {
		return e, fmt.Errorf("%w: an entry of %d bytes", ErrMalformed, len(encoded))
	}
	e.stamp, e.form = stamp(number(encoded)), form(encoded[8])
	if e.form > expiring {
		return e, fmt.Errorf("%w: an entry of form %d, known up to %d: upgrade this node", ErrVersion, e.form, expiring)
	}
	rest := encoded[9:]
	if len(rest) < times[e.form]+2 {
		return e, fmt.Errorf("%w: an entry of form %d and %d bytes", ErrMalformed, e.form, len(encoded))
	}
	switch e.form {
	case dead:
		e.until = number(rest)
	case expiring:
		e.expires, e.keep, e.over = number(rest), number(rest[8:]), number(rest[16:])
		if e.over < e.expires {
			return e, fmt.Errorf("%w: an entry that expires at %d, and the last at %d milliseconds since 1970", ErrMalformed, e.expires, e.over)
		}
	}
	rest = rest[times[e.form]:]
	n := int(rest[0])<<8 | int(rest[1])
	if rest = rest[2:]; len(rest) < n {
		return e, fmt.Errorf("%w: a key of %d bytes in an entry of %d", ErrMalformed, n, len(encoded))
	}
	e.key, e.value = rest[:n], rest[n:]
	if e.form == dead && e.value != "" {
		return e, fmt.Errorf("%w: a deletion with a value", ErrMalformed)
	}
	return e, nil
}

// number returns the first eight bytes of s.
func number(s string) (n uint64) {
	for i := range 8 {
		n = n<<8 | uint64(s[i])
	}
	return n
}

// sane returns what makes an entry one that no member could have written whose clock is
// right, within a day.
func (e entry) sane(c *clock) error {
	if c.absurd(e.stamp) {
		return fmt.Errorf("%w: it was written at %v, this node's clock says %v; set the one that is wrong", ErrAhead, when(e.stamp.millis()), when(c.wall()))
	}
	longest := uint64((year + time.Hour).Milliseconds())
	switch {
	case e.form == dead && e.until > c.latest(refused)+longest:
		return fmt.Errorf("%w: a deletion is to be remembered until %v, a year at most is allowed", ErrMalformed, when(e.until))
	case e.form == expiring && (e.expires > maxMillis || e.over > maxMillis && e.over != never):
		return fmt.Errorf("%w: it expires at %d, and others at %d milliseconds since 1970", ErrMalformed, e.expires, e.over)
	case e.form == expiring && e.keep > longest:
		return fmt.Errorf("%w: it is to be remembered for %d milliseconds, a year at most is allowed", ErrMalformed, e.keep)
	}
	return nil
}

// when shows milliseconds since 1970.
func when(millis uint64) string {
	return time.UnixMilli(int64(min(millis, maxMillis))).UTC().Format(time.RFC3339)
}

// order says which of two entries of a key wins: the later one, of one time the greater
// one. It is 0 for two that say the same, though for another time.
func order(a, b entry) int {
	return cmp.Or(cmp.Compare(a.stamp, b.stamp), cmp.Compare(a.form, b.form),
		cmp.Compare(a.expires, b.expires), cmp.Compare(a.keep, b.keep), strings.Compare(a.value, b.value))
}

// joined returns what two entries of a key come to: the one that wins, remembered for as
// long as both want. So any number of entries come to the same on all members, in
// whatever order they come and though some come twice.
func joined(a, b entry) entry {
	by := order(a, b)
	if by < 0 {
		a, b = b, a
	}
	switch {
	case a.form == expiring:
		a.over = max(a.over, b.outlasts())
	case by == 0:
		a.until = max(a.until, b.until)
	}
	return a
}

// contentSize returns how many bytes of an encoding are its key and its value.
func contentSize(encoded string) int { return len(encoded) - headSize - times[encoded[8]] }

// appendHead begins an update: what follows are entries of a type.
func appendHead(b []byte, tag string) []byte {
	b = append(b, version, byte(len(tag)))
	return append(b, tag...)
}

// appendEntry appends an entry to an update.
func appendEntry(b []byte, encoded string) []byte {
	b = binary.AppendUvarint(b, uint64(len(encoded)))
	return append(b, encoded...)
}

// body returns the entries of an update of a type, as a copy.
func body(b []byte, tag string) (string, error) {
	switch {
	case len(b) < 2:
		return "", fmt.Errorf("%w: an update of %d bytes", ErrMalformed, len(b))
	case b[0] == 0:
		return "", fmt.Errorf("%w: an update of version 0", ErrMalformed)
	case b[0] > version:
		return "", fmt.Errorf("%w: an update of version %d, known up to %d: upgrade this node", ErrVersion, b[0], version)
	case len(b) < 2+int(b[1]):
		return "", fmt.Errorf("%w: the name of a type is cut off", ErrMalformed)
	}
	end := 2 + int(b[1])
	if other := b[2:end]; string(other) != tag {
		return "", fmt.Errorf("%w: an update of a %q, this is a %q: give one of them another key", ErrType, other, tag)
	}
	return string(b[end:]), nil
}

// cut takes the next entry off the body of an update.
func cut(body string) (encoded, rest string, err error) {
	size, n := uint64(0), 0
	for n < len(body) && n < binary.MaxVarintLen32 && body[n] >= 0x80 {
		size |= uint64(body[n]&0x7f) << (7 * n)
		n++
	}
	if n == len(body) || n == binary.MaxVarintLen32 {
		return "", "", fmt.Errorf("%w: an update is cut off", ErrMalformed)
	}
	size |= uint64(body[n]) << (7 * n)
	if n++; size > uint64(len(body)-n) {
		return "", "", fmt.Errorf("%w: an update is cut off", ErrMalformed)
	}
	end := n + int(size)
	return body[n:end], body[end:], nil
}
