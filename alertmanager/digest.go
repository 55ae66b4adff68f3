package alertmanager

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/clusterchannel/clusterchannel/backend"
)

// digested gives the notification log and the silences a digest. They marshal
// as records in the random order of a map.
type digested struct{ backend.State }

// Digest implements backend.Digester.
func (d digested) Digest() (uint64, error) {
	b, err := d.MarshalBinary()
	if err != nil {
		return 0, err
	}
	return recordsDigest(b)
}

// recordsDigest is the digest of a multiset of records, each behind its length
// as a uvarint, whatever their order.
func recordsDigest(b []byte) (uint64, error) {
	var sum, count uint64
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return 0, fmt.Errorf("record %d is damaged", count)
		}
		sum += xxhash.Sum64(b[n : n+int(size)])
		count++
		b = b[n+int(size):]
	}
	return sum ^ count*0x9e3779b97f4a7c15, nil
}

var _ backend.Digester = digested{}
