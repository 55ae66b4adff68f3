package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
)

// system is what is measured. What it cannot do is nil.
type system struct {
	name     string
	set      func(key string, value []byte) error
	snapshot func() ([]byte, error)
	merge    func(b []byte) error // what snapshot returned
	one      func(key string) ([]byte, error)
	store    func(ctx context.Context, dsn string) error // saves it, or loads it into an empty one
	end      func()
}

var titles = []string{
	"memory an entry", "set, new keys", "set, known keys", "snapshot of all", "its size", "merge of all into nothing", "merge of all that is known",
	"merge of one that is new", "save in SQLite", "load from SQLite",
}

type bench struct {
	dir   string
	keys  []string
	value []byte
}

// newBench returns what is to be measured with so many entries, in a directory.
func newBench(entries int, dir string) *bench {
	b := &bench{dir: dir, keys: make([]string, entries), value: make([]byte, 100)}
	for i := range b.keys {
		b.keys[i] = fmt.Sprintf("session-%07d", i)
	}
	return b
}

// measure returns a system's column: its name, and a cell for each of titles.
func (b *bench) measure(ctx context.Context, make func(entries int) (*system, error)) (cells []string, err error) {
	before := heap()
	s, err := make(len(b.keys))
	if err != nil {
		return nil, err
	}
	defer s.end()
	cells = []string{s.name}
	timed := func(f func() error) time.Duration {
		if err != nil {
			return 0
		}
		fmt.Fprintf(os.Stderr, "%s: %s\n", s.name, titles[len(cells)-1])
		runtime.GC()
		began := time.Now()
		err = f()
		return time.Since(began)
	}
	each := func(d time.Duration) string {
		return fmt.Sprintf("%s/s", thousands(float64(len(b.keys))/d.Seconds()))
	}
	fill := func() error {
		for _, k := range b.keys {
			if err := s.set(k, b.value); err != nil {
				return err
			}
		}
		return nil
	}
	first := timed(fill)
	cells = append(cells, fmt.Sprintf("%d B", (heap()-before)/int64(len(b.keys))))
	cells = append(cells, each(first))
	cells = append(cells, each(timed(fill)))
	if s.snapshot == nil {
		for len(cells) <= len(titles) {
			cells = append(cells, "")
		}
		return cells, err
	}
	var all []byte
	cells = append(cells, short(timed(func() (err error) { all, err = s.snapshot(); return err })))
	cells = append(cells, fmt.Sprintf("%d MB", len(all)/1e6))
	empty, err2 := make(len(b.keys))
	if err2 != nil {
		return nil, err2
	}
	cells = append(cells, each(timed(func() error { return empty.merge(all) })))
	cells = append(cells, each(timed(func() error { return empty.merge(all) })))
	empty.end()
	cells = append(cells, short(b.one(s, timed)))
	if s.store == nil {
		return append(cells, "", ""), err
	}
	dsn := "sqlite:" + b.dir + "/state.db"
	cells = append(cells, short(timed(func() error { return s.store(ctx, dsn) })))
	again, err2 := make(len(b.keys))
	if err2 != nil {
		return nil, err2
	}
	defer again.end()
	cells = append(cells, short(timed(func() error { return again.store(ctx, dsn) })))
	return cells, err
}

// one merges single entries, and returns how long one takes.
func (b *bench) one(s *system, timed func(func() error) time.Duration) time.Duration {
	const count = 20
	var updates [][]byte
	for i := range count {
		u, err := s.one(fmt.Sprint("another ", i))
		if err != nil {
			return timed(func() error { return err })
		}
		updates = append(updates, u)
	}
	return timed(func() error {
		for _, u := range updates {
			if err := s.merge(u); err != nil {
				return err
			}
		}
		return nil
	}) / count
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d.Nanoseconds())/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func thousands(v float64) string {
	switch {
	case v < 10_000:
		return fmt.Sprintf("%.0f", v)
	case v < 1e6:
		return fmt.Sprintf("%d,000", int64(v/1000))
	}
	return fmt.Sprintf("%.1f million", v/1e6)
}
