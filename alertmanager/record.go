package alertmanager

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/clusterchannel/clusterchannel/backend"
)

// record is one entry of the notification log or one silence, and what Merge goes by:
// of two with the same key the one with the later stamp stays, and one that has expired
// is not taken.
type record struct {
	id      backend.EntryID // of key and stamp
	key     backend.EntryID
	stamp   time.Time
	expires int64 // in milliseconds since 1970
	sum     uint64
	encoded []byte // behind its length
	at      int    // its place in an index
}

// readRecord decodes a record without its length.
type readRecord func(b []byte) (record, error)

// readLog reads an entry of the notification log.
func readLog(b []byte) (record, error) {
	var e nflogpb.MeshEntry
	if err := proto.Unmarshal(b, &e); err != nil {
		return record{}, err
	}
	if e.Entry == nil || e.Entry.Receiver == nil {
		return record{}, nflog.ErrInvalidState
	}
	r := e.Entry.Receiver
	key := fmt.Sprintf("%s:%s/%s/%d", e.Entry.GroupKey, r.GroupName, r.Integration, r.Idx)
	return newRecord(key, e.Entry.Timestamp, e.ExpiresAt, &e)
}

// readSilence reads a silence.
func readSilence(b []byte) (record, error) {
	var e silencepb.MeshSilence
	if err := proto.Unmarshal(b, &e); err != nil {
		return record{}, err
	}
	if e.Silence == nil {
		return record{}, silence.ErrInvalidState
	}
	return newRecord(e.Silence.Id, e.Silence.UpdatedAt, e.ExpiresAt, &e)
}

// newRecord encodes m as all nodes do, whatever order its maps have.
func newRecord(key string, stamp, expires *timestamppb.Timestamp, m proto.Message) (record, error) {
	size := proto.Size(m)
	b := binary.AppendUvarint(make([]byte, 0, size+binary.MaxVarintLen64), uint64(size))
	head := len(b)
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, m)
	if err != nil {
		return record{}, err
	}
	version := binary.BigEndian.AppendUint64(nil, uint64(stamp.GetSeconds()))
	version = binary.BigEndian.AppendUint32(version, uint32(stamp.GetNanos()))
	return record{
		id: backend.EntryIDOf(append(version, key...)), key: backend.EntryIDOf([]byte(key)),
		stamp: stamp.AsTime(), expires: expires.AsTime().UnixMilli(), sum: xxhash.Sum64(b[head:]), encoded: b,
	}, nil
}

// readRecords reads records, each behind its length as a uvarint. Of several with the
// same key the last one counts, as in Merge.
func readRecords(b []byte, read readRecord) (map[backend.EntryID]*record, error) {
	all := map[backend.EntryID]*record{}
	for i := 0; len(b) > 0; i++ {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, fmt.Errorf("record %d is cut off, or has no length", i)
		}
		r, err := read(b[n : n+int(size)])
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		all[r.key] = &r
		b = b[n+int(size):]
	}
	return all, nil
}
