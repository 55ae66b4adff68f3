package replicated

import (
	"crypto/rand"
)

// slotSize is how many random bytes tell apart those who write.
const slotSize = 8

// newSlot returns what tells apart the entries of one value of this package, in one
// process, from those of all others: it alone sets them.
func newSlot() string {
	var b [slotSize]byte
	_, _ = rand.Read(b[:]) // it never fails
	return string(b[:])
}
