package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/etcd"
	_ "github.com/clusterchannel/clusterchannel/backends/memberlist"
	_ "github.com/clusterchannel/clusterchannel/backends/nats"
	_ "github.com/clusterchannel/clusterchannel/backends/redis"
	"github.com/clusterchannel/clusterchannel/bench/internal/network"
	"github.com/clusterchannel/clusterchannel/once"
)

const (
	every = 20 * time.Millisecond  // between keys
	takes = 100 * time.Millisecond // the work on one
)

// task is what a node is told to do.
type task struct {
	Backend, Name string
	Params        map[string]string
	Keys          int
}

// report is a line of what a node says.
type report struct {
	Is     string // one of the constants
	Key    int
	Window time.Duration // since the end of the work
	Count  float64
	Err    string
}

const (
	isReady   = "ready"
	isDone    = "done"    // it has done the work of Key
	isKnown   = "known"   // it has the result of another node
	isFailed  = "failed"  // its call has an error
	isIdle    = "idle"    // all its calls have returned
	isCounted = "counted" // as done twice, at the end
)

// reporter writes reports at once, so that what was said before a kill was said.
type reporter struct {
	mu sync.Mutex
	to *json.Encoder
}

func (r *reporter) say(what report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.to.Encode(what); err != nil {
		fmt.Fprintln(os.Stderr, "once:", err)
		os.Exit(1)
	}
}

// serve is a node: it says that it is ready, begins with the keys at the moment that it
// is told, and says what it has counted at the end of its input.
func serve(ctx context.Context, t task) error {
	r := &reporter{to: json.NewEncoder(os.Stdout)}
	quiet := slog.New(slog.DiscardHandler)
	cluster, err := backend.Open(ctx, backend.Config{Backend: t.Backend, Cluster: "once", Name: t.Name, Params: t.Params, Logger: quiet})
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	group, err := once.New(cluster, &once.Options{Logger: quiet, Registerer: registry})
	if err != nil {
		return errors.Join(err, cluster.Close(ctx))
	}
	defer func() {
		_ = group.Close(ctx) // it may be cut off
		_ = cluster.Close(ctx)
	}()
	for v := range cluster.Watch(ctx) {
		if len(v.Members) == network.Nodes {
			break
		}
	}
	if err := cluster.WaitReady(ctx); err != nil {
		return err
	}
	r.say(report{Is: isReady})
	in := bufio.NewReader(os.Stdin)
	var begin time.Time
	if err := json.NewDecoder(in).Decode(&begin); err != nil {
		return err
	}
	var calls sync.WaitGroup
	for key := range t.Keys {
		calls.Go(func() { call(ctx, group, r, key, begin.Add(time.Duration(key)*every)) })
	}
	calls.Wait()
	r.say(report{Is: isIdle})
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	count, err := doubled(registry)
	r.say(report{Is: isCounted, Count: count})
	return err
}

// call has a key done once, from a moment on.
func call(ctx context.Context, group *once.Group, r *reporter, key int, at time.Time) {
	pause(time.Until(at))
	result, err := group.Do(ctx, fmt.Sprint("key-", key), func(context.Context) ([]byte, error) {
		pause(takes)
		r.say(report{Is: isDone, Key: key})
		return nil, nil
	})
	switch {
	case err != nil:
		r.say(report{Is: isFailed, Key: key, Err: err.Error()})
	case !result.Here:
		r.say(report{Is: isKnown, Key: key, Window: time.Since(result.At)})
	}
}

func pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// doubled is what a node has counted.
func doubled(from prometheus.Gatherer) (sum float64, err error) {
	families, err := from.Gather()
	for _, f := range families {
		if f.GetName() != "clusterchannel_once_doubled_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum, err
}
