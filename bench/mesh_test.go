package main

import (
	"testing"
	"time"
)

// BenchmarkMesh sends from one node to two others over loopback, each payload
// once the one before has reached both: a place to profile from. Backends whose
// server is not installed are left out.
func BenchmarkMesh(b *testing.B) {
	for _, backend := range []string{"memberlist", "redis", "nats", "etcd"} {
		b.Run(backend, func(b *testing.B) {
			p := place{Backend: backend}
			if kind, ok := servers[backend]; ok {
				server, stop, err := startServer(b.Context(), kind)
				if err != nil {
					b.Skip(err)
				}
				b.Cleanup(stop)
				p.Server = server
			}
			for _, size := range []struct {
				name  string
				bytes int
			}{{"200B", payload}, {"1MiB", 1<<20 - 4}} {
				for _, r := range []role{ourRole, rawRole, bareRole} {
					b.Run(size.name+"/"+string(r), func(b *testing.B) {
						l, err := suites[backend].contenders[r].open(p, 3)
						if err != nil {
							b.Fatal(err)
						}
						b.Cleanup(l.close)
						roundTrips(b, l, size.bytes)
					})
				}
			}
		})
	}
}

func roundTrips(b *testing.B, l line, size int) {
	b.SetBytes(int64(size))
	b.ReportAllocs()
	id := uint64(0)
	for b.Loop() {
		send(l, id, size)
		for deadline := time.Now().Add(10 * time.Second); ; {
			if _, ok := all(l.stores(), id); ok {
				break
			}
			if time.Now().After(deadline) {
				b.Fatalf("payload %d did not arrive", id)
			}
			<-time.After(20 * time.Microsecond)
		}
		for _, s := range l.stores() {
			s.forget(id)
		}
		id++
	}
}
