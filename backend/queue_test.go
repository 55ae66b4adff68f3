package backend

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// What is queued comes out in its order and as it was, however many blocks it fills.
func TestQueueKeepsOrder(t *testing.T) {
	var q queue
	var want, got []string
	large := bytes.Repeat([]byte("large"), blockBytes/4)
	for round := range 3 {
		want, got = nil, nil
		for i := range 3 * blockItems {
			name := fmt.Sprint(round, " ", i)
			switch {
			case i%100 == 7:
				q.push(entry{more: &errand{job: func() { got = append(got, name) }}})
				want = append(want, name)
			case i%100 == 8:
				q.update(large, nil, entry{})
				want = append(want, string(large))
			case i%100 == 9:
				own := []byte(name)
				q.update(own[2:], own, entry{})
				want = append(want, name[2:])
			default:
				long := name + string(large[:i%20*1000])
				q.update([]byte(long), nil, entry{sent: int64(i)})
				want = append(want, long)
			}
		}
		if q.items != len(want) {
			t.Errorf("%d items, want %d", q.items, len(want))
		}
		all := q.take()
		if q.items != 0 || q.bytes != 0 {
			t.Errorf("%d items, %d bytes after all was taken", q.items, q.bytes)
		}
		for i, b := range all {
			for _, e := range b.entries {
				if e.more != nil && e.more.job != nil {
					e.more.job()
					continue
				}
				got = append(got, string(e.data))
			}
			worked(all, i)
		}
		q.done(all)
		if !slices.Equal(got, want) {
			t.Fatal("what comes out is not what was put in")
		}
	}
}

// After a burst a state holds no more than before; and what arrives one by one costs
// nothing but its copy.
func TestQueueAfterABurst(t *testing.T) {
	var q queue
	data := make([]byte, 200)
	pass := func(n int) {
		for range n {
			q.update(data, nil, entry{})
		}
		all := q.take()
		for i := range all {
			worked(all, i)
		}
		q.done(all)
	}
	pass(20_000)
	pass(1)
	if q.small == nil || cap(q.small.arena) > smallBytes || cap(q.list) > blockItems || len(q.blocks) > 0 {
		t.Errorf("after a burst: %d bytes, room for %d blocks, %d blocks", cap(q.small.arena), cap(q.list), len(q.blocks))
	}
	if n := testing.AllocsPerRun(100, func() { pass(1) }); n > 0 {
		t.Errorf("one update allocates %v times", n)
	}
}
