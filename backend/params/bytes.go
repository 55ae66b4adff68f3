package params

import (
	"errors"
	"math"
	"strconv"

	"github.com/alecthomas/units"
)

// Bytes is a size in bytes. Its text is a number, or numbers with units: KiB,
// MiB, GiB are powers of 1024, kB, MB, GB of 1000. It is never negative.
type Bytes int

// UnmarshalText parses a size such as "16MiB" or "65536".
func (b *Bytes) UnmarshalText(text []byte) error {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		n, err = units.ParseStrictBytes(string(text))
	}
	if err != nil || n < 0 || n >= math.MaxInt {
		return errors.New("want a size such as 16MiB")
	}
	*b = Bytes(n)
	return nil
}

// String returns the size with binary units, in the form that UnmarshalText
// parses.
func (b Bytes) String() string { return units.Base2Bytes(b).String() }
