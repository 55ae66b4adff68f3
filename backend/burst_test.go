package backend_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// quota is a state that tells when it has merged enough.
type quota struct {
	left   atomic.Int64
	enough chan struct{}
}

func (*quota) MarshalBinary() ([]byte, error) { return nil, nil }

func (s *quota) Merge([]byte) error {
	if s.left.Add(-1) == 0 {
		s.enough <- struct{}{}
	}
	return nil
}

const inBurst = 20_000

// party is a bus that loses nothing: who sends waits for who is slow.
type party []chan []byte

// guest is the driver of one node of a party.
type guest struct {
	party party
	in    chan []byte
}

func (guest) Caps() driver.Caps           { return driver.Caps{} }
func (guest) Close(context.Context) error { return nil }

func (s guest) Serve(ctx context.Context, h driver.Handler) error {
	h.Link(nil)
	for {
		select {
		case frame := <-s.in:
			h.Frame(frame)
		case <-ctx.Done():
			return nil
		}
	}
}

func (s guest) Broadcast(ctx context.Context, frame []byte) error {
	for _, to := range s.party {
		select {
		case to <- bytes.Clone(frame):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// bursts opens three nodes on a bus. What it returns has the first one broadcast a
// burst, and waits until the others have merged it.
func bursts(t testing.TB) func() {
	all := party{make(chan []byte, 64), make(chan []byte, 64), make(chan []byte, 64)}
	var states []*quota
	var channel backend.Channel
	for i, in := range all {
		config := ownDriver(func(context.Context, driver.Options) (driver.Driver, error) { return guest{all, in}, nil })
		config.Name = fmt.Sprint(i)
		c, err := backend.Open(t.Context(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		s := &quota{enough: make(chan struct{}, 1)}
		said, err := c.AddState("s", s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			channel = said
		} else {
			states = append(states, s)
		}
	}
	update := make([]byte, 200)
	return func() {
		for _, s := range states {
			s.left.Store(inBurst)
		}
		for i := range inBurst {
			binary.LittleEndian.PutUint32(update, uint32(i))
			channel.Broadcast(update)
		}
		for _, s := range states {
			<-s.enough
		}
	}
}

// A burst costs the bytes that it takes, and little more: neither who sends it nor who
// merges it makes buffers that the next one does not use.
func TestABurstAllocatesLittle(t *testing.T) {
	burst := bursts(t)
	burst() // what is made once
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	const times = 3
	for range times {
		burst()
	}
	runtime.ReadMemStats(&now)
	each := (now.TotalAlloc - before.TotalAlloc) / (times * inBurst)
	t.Logf("%d bytes an update", each)
	if each > 1500 { // 750 are the copies of the bus; the blocks of a queue may be collected meanwhile
		t.Errorf("an update of 200 bytes in a burst to two allocates %d bytes", each)
	}
}

// BenchmarkBurst is a burst of 20,000 updates, until two others have merged it.
func BenchmarkBurst(b *testing.B) {
	burst := bursts(b)
	b.ReportAllocs()
	for b.Loop() {
		burst()
	}
}
