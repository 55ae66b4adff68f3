package etcd

import (
	"fmt"
	"sync"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// Each member of etcd keeps its latest writes in memory, whatever their age: 5,000
// for followers that are behind, and before etcd 3.6 up to --snapshot-count more.
// max_frame bounds the size of each.
const (
	leastKept  = 5_000
	keptWrites = 10_000
	heavyLog   = 128 << 20
)

// weight sums up the bytes of the cluster's frames among the latest writes of the
// server, ours or not.
type weight struct {
	mu     sync.Mutex
	latest int64 // revision
	frames []frameWeight
	bytes  int
	steps  int // of heavyLog, as last told
}

type frameWeight struct {
	revision int64
	bytes    int
}

// add counts a frame.
func (w *weight) add(revision int64, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frames = append(w.frames, frameWeight{revision, bytes})
	w.bytes += bytes
	w.passLocked(revision)
}

// pass forgets the frames that the server has dropped by that revision.
func (w *weight) pass(revision int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passLocked(revision)
}

func (w *weight) passLocked(revision int64) {
	w.latest = max(w.latest, revision)
	gone := 0
	for gone < len(w.frames) && w.frames[gone].revision <= w.latest-keptWrites {
		w.bytes -= w.frames[gone].bytes
		gone++
	}
	w.frames = w.frames[gone:]
}

// tell reports when the frames have become heavy, or heavier, and when they are
// not any more.
func (w *weight) tell(h driver.Handler) {
	w.mu.Lock()
	steps, told := w.bytes/heavyLog, w.steps
	w.steps = steps
	w.mu.Unlock()
	if steps == told {
		return
	}
	if steps == 0 {
		h.Trouble("etcd memory", nil)
		return
	}
	h.Trouble("etcd memory", fmt.Errorf("frames of this cluster are %v and more of the latest %d writes, which every member of etcd keeps in memory: "+
		"send smaller or fewer updates, or lower --snapshot-catchup-entries (before 3.6 --snapshot-count) of the servers; max_frame bounds it all", params.Bytes(steps*heavyLog), keptWrites))
}
