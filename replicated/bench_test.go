package replicated_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/clusterchannel/clusterchannel/replicated"
)

// many is how many entries the benchmarks are of: "session-0000001", and 100 bytes.
const many = 1_000_000

func sessions(n int) (keys []string, value []byte) {
	keys = make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("session-%07d", i)
	}
	return keys, make([]byte, 100)
}

// filled returns a map of n sessions.
func filled(b testing.TB, n int) *replicated.Map[string, []byte] {
	m, err := replicated.NewMap[string, []byte](&replicated.Options{MaxEntries: n})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(m.Close)
	keys, value := sessions(n)
	for _, k := range keys {
		if err := m.Set(k, value); err != nil {
			b.Fatal(err)
		}
	}
	return m
}

func perSecond(b *testing.B, n int) {
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// heap returns how many bytes are held.
func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func BenchmarkMemory(b *testing.B) {
	keys, value := sessions(many)
	b.Run("map", func(b *testing.B) {
		for b.Loop() {
			before := heap()
			m := map[string][]byte{}
			for _, k := range keys {
				m[k] = append([]byte(nil), value...)
			}
			b.ReportMetric(float64(heap()-before)/many, "B/entry")
			runtime.KeepAlive(m)
		}
	})
	b.Run("replicated", func(b *testing.B) {
		for b.Loop() {
			before := heap()
			m := filled(b, many)
			b.ReportMetric(float64(heap()-before)/many, "B/entry")
			runtime.KeepAlive(m)
		}
	})
	runtime.KeepAlive(keys)
}

func BenchmarkSet(b *testing.B) {
	keys, value := sessions(many)
	b.Run("map", func(b *testing.B) {
		m, i := map[string][]byte{}, 0
		for b.Loop() {
			m[keys[i%many]] = append([]byte(nil), value...)
			i++
		}
		perSecond(b, 1)
	})
	b.Run("replicated", func(b *testing.B) {
		m, i := filled(b, many), 0
		for b.Loop() {
			if err := m.Set(keys[i%many], value); err != nil {
				b.Fatal(err)
			}
			i++
		}
		perSecond(b, 1)
	})
}

func BenchmarkGet(b *testing.B) {
	keys, _ := sessions(many)
	m, i := filled(b, many), 0
	for b.Loop() {
		if _, ok := m.Get(keys[i%many]); !ok {
			b.Fatal("it is not there")
		}
		i++
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m := filled(b, many)
	for b.Loop() {
		if _, err := m.MarshalBinary(); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, many)
}

func BenchmarkMerge(b *testing.B) {
	all, err := filled(b, many).MarshalBinary()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			m, err := replicated.NewMap[string, []byte](nil)
			if err == nil {
				err = m.Merge(all)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b, many)
	})
	b.Run("known", func(b *testing.B) {
		m := filled(b, many)
		for b.Loop() {
			if err := m.Merge(all); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b, many)
	})
}

// What a comparison costs that finds no difference.
func BenchmarkIDs(b *testing.B) {
	m := filled(b, many)
	for b.Loop() {
		for range m.EntryIDs() {
		}
	}
	perSecond(b, many)
}
