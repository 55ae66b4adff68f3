package replicated

import (
	"cmp"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Options are what all types of this package are made with. The zero value means the
// defaults.
type Options struct {
	// Key encodes the keys of a Map and the elements of a Set, Value the values of a
	// Map and a Register; see Codec for the defaults. They must be the same on all
	// nodes.
	Key, Value Codec

	// Type names what is replicated, to nodes that hold something else under the same
	// key of their channel: what they say is refused by ErrType. At most 255 bytes;
	// by default the Go types without the paths of their packages, such as
	// "map[string]limits.Quota". Set it where one of them is to be renamed.
	Type string

	// MaxEntries bounds the entries, remembered deletions among them, and MaxBytes the
	// bytes of their encoded keys and values: a Set that would go beyond is ErrFull.
	// Both must be the same on all nodes. Twice as much is merged from other members, so
	// that two halves of a cluster that both were full still become equal; see Bounds in
	// the documentation of the package for more than two. The defaults are 1,048,576
	// entries and 256 MiB; at most 16 Mi and 64 GiB.
	MaxEntries int
	MaxBytes   int64

	// Tombstones is how long a deletion is remembered, from 1s to a year; default 24h.
	// It should be the same on all nodes, and longer than their clocks are apart. See
	// Deletions in the documentation of the package.
	Tombstones time.Duration

	// MaxAhead is how far ahead of this node's clock another one may be for its time
	// to be believed, up to an hour; default one minute. See Time in the documentation
	// of the package.
	MaxAhead time.Duration

	// Registerer receives the metrics from Attach to Close; nil for none. See Metrics in the
	// documentation of the package.
	Registerer prometheus.Registerer

	// Now tells the time, for tests; nil means time.Now.
	Now func() time.Time
}

// year bounds how long a deletion may be remembered.
const year = 366 * 24 * time.Hour

// filled returns the options with their defaults, or what is wrong with them.
func (o *Options) filled() (Options, error) {
	var f Options
	if o != nil {
		f = *o
	}
	f.MaxEntries = cmp.Or(f.MaxEntries, 1<<20)
	f.MaxBytes = cmp.Or(f.MaxBytes, 256<<20)
	f.Tombstones = cmp.Or(f.Tombstones, 24*time.Hour)
	f.MaxAhead = cmp.Or(f.MaxAhead, time.Minute)
	if f.Now == nil {
		f.Now = time.Now
	}
	switch {
	case f.MaxEntries < 1 || f.MaxEntries > 16<<20:
		return f, fmt.Errorf("%w: MaxEntries is %d, want 1 to %d", backend.ErrConfig, f.MaxEntries, 16<<20)
	case f.MaxBytes < 1 || f.MaxBytes > 64<<30:
		return f, fmt.Errorf("%w: MaxBytes is %d, want 1 to %d", backend.ErrConfig, f.MaxBytes, int64(64<<30))
	case f.Tombstones < time.Second || f.Tombstones > year:
		return f, fmt.Errorf("%w: Tombstones is %v, want 1s to %v", backend.ErrConfig, f.Tombstones, year)
	case f.MaxAhead < 0 || f.MaxAhead > time.Hour:
		return f, fmt.Errorf("%w: MaxAhead is %v, want 1ns to 1h, or 0 for 1m", backend.ErrConfig, f.MaxAhead)
	case len(f.Type) > maxTag:
		return f, fmt.Errorf("%w: Type has %d bytes, want at most %d", backend.ErrConfig, len(f.Type), maxTag)
	}
	return f, nil
}
