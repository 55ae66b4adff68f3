package main

import (
	"context"
	"math"
	"sync"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
	"github.com/clusterchannel/clusterchannel/internal/wire/field"
)

// meter counts what the nodes of a mesh hand to their drivers.
type meter struct {
	mu     sync.Mutex
	said   int                // bytes
	asked  map[[2]string]bool // who asked whom for states, and was not answered with one yet
	pulls  int
	pulled int // bytes of pulls and of their answers
	rounds int
	frame  wire.Frame
}

func newMeter() *meter { return &meter{asked: map[[2]string]bool{}} }

// kindField is where a frame says its kind.
const kindField = 103

// largeAnswer is how many bytes no answer has that says that states are equal.
const largeAnswer = 4 << 10

// says counts one frame. A round is a question of an exchange that finds a difference:
// a pull, each step of a walk, and a push.
func (m *meter) says(from, to string, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said += len(b)
	kind, there := m.kind(b), [2]string{from, to}
	switch kind {
	case wire.Pull:
		m.asked[there] = true
		m.pulls++
		m.pulled += len(b)
	case wire.Walk, wire.Push:
		m.rounds++
		m.differ(there)
	case wire.Answer:
		m.pulled += len(b)
		if len(b) > largeAnswer {
			m.differ([2]string{to, from})
		}
	}
}

// differ notes that a pull has found a difference.
func (m *meter) differ(pull [2]string) {
	if m.asked[pull] {
		delete(m.asked, pull)
		m.rounds++
	}
}

// kind is that of a frame, or of the one that begins with a chunk; that of other chunks
// counts for nothing.
func (m *meter) kind(b []byte) wire.Kind {
	if wire.Decode(b, &m.frame) != nil || m.frame.Kind != wire.Chunk {
		return m.frame.Kind
	}
	kind := uint64(wire.Chunk)
	if m.frame.Index == 0 {
		_ = field.Each(m.frame.Chunk, func(n field.Number, v field.Value) error { // it breaks off in its data
			if n == kindField {
				return v.Uint(&kind, math.MaxUint8)
			}
			return nil
		})
	}
	return wire.Kind(kind)
}

// soFar returns how many bytes were said, and in how many rounds.
func (m *meter) soFar() (said, rounds int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.said, m.rounds
}

// compared returns how many comparisons were asked for, and the bytes of them.
func (m *meter) compared() (pulls, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pulls, m.pulled
}

// said is how many bytes the nodes have handed to their drivers.
func (m *seats) said() float64 {
	if m.meter == nil {
		return 0
	}
	said, _ := m.meter.soFar()
	return float64(said)
}

// metered is a driver whose frames are counted.
type metered struct {
	driver.Driver
	self  string
	meter *meter
}

func (d metered) Broadcast(ctx context.Context, frame []byte) error {
	d.meter.says(d.self, "", frame)
	return d.Driver.Broadcast(ctx, frame)
}

func (d metered) Caps() driver.Caps {
	caps := d.Driver.Caps()
	if send := caps.Send; send != nil {
		caps.Send = func(ctx context.Context, to driver.Member, frame []byte) error {
			d.meter.says(d.self, to.Instance, frame)
			return send(ctx, to, frame)
		}
	}
	return caps
}
