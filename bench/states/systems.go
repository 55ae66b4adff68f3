package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/clusterchannel/clusterchannel/persist"
	"github.com/clusterchannel/clusterchannel/replicated"
)

// plainMap is a map of Go, which is not replicated.
func plainMap(int) (*system, error) {
	m := map[string][]byte{}
	return &system{
		name: "Go map",
		set:  func(key string, value []byte) error { m[key] = bytes.Clone(value); return nil },
		end:  func() {},
	}, nil
}

// replicatedMap is this project's.
func replicatedMap(entries int) (*system, error) {
	o := &replicated.Options{MaxEntries: entries + 100}
	m, err := replicated.NewMap[string, []byte](o)
	if err != nil {
		return nil, err
	}
	other, err := replicated.NewMap[string, []byte](o)
	if err != nil {
		return nil, err
	}
	return &system{
		name:     "replicated.Map",
		set:      m.Set,
		snapshot: m.MarshalBinary,
		merge:    m.Merge,
		one: func(key string) ([]byte, error) {
			if err := other.Set(key, make([]byte, 100)); err != nil {
				return nil, err
			}
			for id := range other.EntryIDs() { // the one that is set last comes first
				return other.Entry(id)
			}
			return nil, errors.New("it has no entry")
		},
		store: func(ctx context.Context, dsn string) error {
			s, err := persist.Open(persist.Options{DSN: dsn, Cluster: "bench", Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				return err
			}
			if _, err := s.Keep(ctx, "sessions", m); err != nil {
				return err
			}
			return s.Close(ctx)
		},
		end: func() { m.Close(); other.Close() },
	}, nil
}
