package main

import (
	"testing"
	"time"
)

// BenchmarkMesh sends from one node to two others over loopback, each payload
// once the one before has reached both: a place to profile from.
func BenchmarkMesh(b *testing.B) {
	for _, size := range []struct {
		name  string
		bytes int
	}{{"200B", payload}, {"1MiB", 1 << 20}} {
		b.Run(size.name+"/clusterchannel", func(b *testing.B) {
			m, err := channels(3)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(m.close)
			if !await(time.Minute, agreed(m, 3)) {
				b.Fatalf("members: %v", m.members())
			}
			roundTrips(b, m, size.bytes)
		})
		b.Run(size.name+"/memberlist", func(b *testing.B) {
			m, err := openBare(3)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(m.close)
			m.reliable = size.bytes > payload
			roundTrips(b, m, size.bytes)
		})
	}
}

func roundTrips(b *testing.B, m mesh, size int) {
	b.SetBytes(int64(size))
	id := uint64(0)
	for b.Loop() {
		send(m, id, size)
		for deadline := time.Now().Add(10 * time.Second); ; {
			if _, ok := all(m.stores(), id); ok {
				break
			}
			if time.Now().After(deadline) {
				b.Fatalf("payload %d did not arrive", id)
			}
			<-time.After(20 * time.Microsecond)
		}
		for _, s := range m.stores() {
			s.forget(id)
		}
		id++
	}
}

func (s *store) forget(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.have, id)
	delete(s.arrived, id)
}
