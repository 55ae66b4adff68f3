package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"
)

const (
	payload        = 200 // bytes
	memberPatience = 2 * time.Minute
)

// plan says how much to measure.
type plan struct {
	Messages int           // one by one
	Pace     time.Duration // between two
	Large    int           // messages of 1 MiB
	Burst    int
	Patience time.Duration // for a burst to arrive
	Settle   time.Duration // before idling and before a kill
	Idle     time.Duration
	Leaves   int
	Kills    int
	Joins    int           // to measure their cost
	Joining  time.Duration // until the effects of a join are over
}

// delivery measures how payloads reach the others.
func delivery(l line, p plan) cells {
	c := cells{}
	var id uint64
	c[rowP50], c[rowP99], id = oneByOne(l, p)
	c[rowLarge], id = large(l, id, p)
	c[rowBurst] = burst(l, id, p)
	return c
}

// send puts a payload into the sender's store and broadcasts it.
func send(l line, id uint64, size int) time.Time {
	b := record(id, size)
	l.stores()[0].put(b[4:])
	at := time.Now()
	l.broadcast(b)
	return at
}

func oneByOne(l line, p plan) (p50, p99 cell, next uint64) {
	sent := make([]time.Time, p.Messages)
	pace := time.NewTicker(p.Pace)
	defer pace.Stop()
	for i := range sent {
		sent[i] = send(l, uint64(i), payload)
		<-pace.C
	}
	var times []time.Duration
	lost := 0
	await(5*time.Second, func() bool { _, ok := all(l.stores(), uint64(p.Messages-1)); return ok })
	for i, at := range sent {
		if last, ok := all(l.stores(), uint64(i)); ok {
			times = append(times, last.Sub(at))
		} else {
			lost++
		}
	}
	slices.Sort(times)
	if len(times) == 0 {
		c := never(5*time.Second, "none arrived")
		return c, c, uint64(p.Messages)
	}
	p50, p99 = took(times[len(times)/2]), took(times[len(times)*99/100])
	if lost > 0 {
		p99.Text += fmt.Sprintf(", %d missing", lost)
	}
	return p50, p99, uint64(p.Messages)
}

func large(l line, id uint64, p plan) (cell, uint64) {
	var times []time.Duration
	for range p.Large {
		at := send(l, id, 1<<20-4) // a record has four bytes more
		await(10*time.Second, func() bool { _, ok := all(l.stores(), id); return ok })
		if last, ok := all(l.stores(), id); ok {
			times = append(times, last.Sub(at))
		}
		id++
	}
	slices.Sort(times)
	if len(times) == 0 {
		return never(10*time.Second, "none arrived"), id
	}
	return took(times[len(times)/2]), id
}

func burst(l line, id uint64, p plan) cell {
	stores := l.stores()
	records := make([][]byte, p.Burst)
	for i := range records {
		records[i] = record(id+uint64(i), payload)
		stores[0].put(records[i][4:])
	}
	start := time.Now()
	l.burst(records)
	if !await(p.Patience, func() bool { return missing(stores) == 0 }) {
		return never(p.Patience, fmt.Sprintf("%.0f%% missing after %v", 100*float64(missing(stores))/float64(p.Burst), p.Patience))
	}
	last := start
	for _, s := range stores[1:] {
		if at := s.latest(); at.After(last) {
			last = at
		}
	}
	return took(last.Sub(start))
}

// membership measures the cost of a mesh at rest, and how fast it notices nodes
// that go.
func membership(ctx context.Context, t task, c contender, m mesh) (cells, error) {
	p := t.Plan
	if err := rest(ctx, p.Settle); err != nil {
		return nil, err
	}
	result, err := idle(ctx, t, m)
	if err != nil {
		return nil, err
	}
	if result[rowLeave], err = repeat(p.Leaves, func() (time.Duration, error) { return leave(ctx, m, t.Nodes, p.Settle) }); err != nil {
		return nil, err
	}
	if result[rowCrash], err = repeat(p.Kills, func() (time.Duration, error) { return kill(ctx, t, m) }); err != nil {
		return nil, err
	}
	result[rowJoin], err = joiner(t, c)
	return result, err
}

func repeat(times int, f func() (time.Duration, error)) (cell, error) {
	all := make([]time.Duration, times)
	for i := range all {
		var err error
		if all[i], err = f(); err != nil {
			return cell{}, err
		}
	}
	return middle(all), nil
}

// idle measures this process and the server, or the loopback, while nothing is
// sent.
func idle(ctx context.Context, t task, m mesh) (cells, error) {
	u, err := used(ctx, t.Place, m, func() error { return rest(ctx, t.Plan.Idle) })
	if err != nil {
		return nil, err
	}
	d := t.Plan.Idle.Seconds()
	c := cells{rowCPU: amount(u.Own.Seconds()*60/d/float64(t.Nodes), "%.3f")}
	if t.Place.Server.Addr == "" {
		c[rowBytes] = amount(u.Bytes/d/float64(t.Nodes), "%.0f")
		return c, nil
	}
	c[rowIn], c[rowOut], c[rowTraffic] = amount(u.In/d, "%.1f"), amount(u.Out/d, "%.1f"), amount(u.Bytes/d, "%.0f")
	if u.Server > 0 {
		c[rowServer] = amount(u.Server.Seconds()/d*100, "%.2f")
	}
	return c, nil
}

func awaitMembers(m mesh, want int) error {
	if !await(memberPatience, agreed(m, want)) {
		return fmt.Errorf("after %v the nodes count %v members, not %d", memberPatience, m.members(), want)
	}
	return nil
}

// leave makes one more node join, and leave.
func leave(ctx context.Context, m mesh, n int, settle time.Duration) (time.Duration, error) {
	if _, err := m.join(); err != nil {
		return 0, err
	}
	if err := awaitMembers(m, n+1); err != nil {
		return 0, err
	}
	if err := rest(ctx, settle); err != nil {
		return 0, err
	}
	end := m.leave()
	closed := make(chan error, 1)
	start := time.Now()
	go func() { closed <- end() }()
	err := awaitMembers(m, n)
	seen := time.Since(start)
	return seen, errors.Join(err, <-closed)
}

// kill makes a process join, and kills it some time later.
func kill(ctx context.Context, t task, m mesh) (time.Duration, error) {
	t.Do, t.Where = doNode, m.where()
	cmd, err := t.command(ctx)
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	err = awaitMembers(m, t.Nodes+1)
	if err == nil {
		err = rest(ctx, t.Plan.Settle) // the effects of joining are over
	}
	start := time.Now()
	end(cmd)
	if err != nil {
		return 0, err
	}
	err = awaitMembers(m, t.Nodes)
	return time.Since(start), err
}

// end kills a process. It fails if the process has ended by itself.
func end(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// joiner measures how long a third node takes that starts empty.
func joiner(t task, c contender) (cell, error) {
	m, err := c.gather(t.Place, 2)
	if err != nil {
		return cell{}, err
	}
	defer m.close()
	if ours, ok := m.(*seats); ok { // who is not ready gives nothing, and two that start at once wait for others
		if err := ours.ready(); err != nil {
			return cell{}, err
		}
	}
	const records = 10000
	for id := range uint64(records) {
		b := record(id, payload)[4:]
		for _, s := range m.stores() {
			s.put(b)
		}
	}
	start := time.Now()
	s, err := m.join()
	if err != nil {
		return cell{}, err
	}
	if !await(time.Minute, func() bool { return s.count() == records }) {
		return never(time.Minute, "incomplete after 1m"), nil
	}
	return took(time.Since(start)), nil
}
