package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/alertmanager/cluster"
)

const (
	rowP50   = "200 bytes reach all, p50"
	rowP99   = "200 bytes reach all, p99"
	rowBurst = "burst of 20,000 reaches all"
	rowLarge = "1 MiB reaches all, p50"
	rowJoin  = "joiner has 2 MB and is ready"
	rowCrash = "killed process is dropped by all"
	rowCPU   = "idle: CPU seconds a minute and node"
	rowBytes = "idle: bytes a second and node"

	payload = 200 // bytes
)

// cell is one measured value: seconds, or what the row says.
type cell struct {
	Value   float64
	Text    string
	AtLeast bool // the value was not reached, and would be higher
}

func took(d time.Duration) cell {
	round := time.Microsecond
	switch {
	case d > 100*time.Millisecond:
		round = time.Millisecond
	case d > time.Millisecond:
		round = 10 * time.Microsecond
	}
	return cell{Value: d.Seconds(), Text: d.Round(round).String()}
}

// never is what did not come about within d.
func never(d time.Duration, text string) cell {
	return cell{Value: d.Seconds(), Text: text, AtLeast: true}
}

// mesh is a cluster under test, in this process.
type mesh interface {
	broadcast(b []byte)    // from node 0
	stores() []*store      // of all nodes
	members() []int        // as each node counts them
	address() string       // where another node joins
	join() (*store, error) // opens one more node; returns when it is ready
	close()
}

// store is a state: every payload by its number. What is new to it, it passes
// on, as Alertmanager's own states do: its gossip depends on that.
type store struct {
	pass atomic.Pointer[func([]byte)] // nil: nowhere

	mu      sync.Mutex
	have    map[uint64][]byte
	arrived map[uint64]time.Time
}

func newStore() *store {
	return &store{have: map[uint64][]byte{}, arrived: map[uint64]time.Time{}}
}

// put tells whether the payload is new.
func (s *store) put(b []byte) bool {
	now := time.Now()
	id := binary.LittleEndian.Uint64(b)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.have[id]; ok {
		return false
	}
	s.have[id] = slices.Clone(b)
	s.arrived[id] = now
	return true
}

func (s *store) MarshalBinary() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []byte
	for _, b := range s.have {
		all = binary.LittleEndian.AppendUint32(all, uint32(len(b)))
		all = append(all, b...)
	}
	return all, nil
}

// Digest makes store a backend.Digester.
func (s *store) Digest() (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sum uint64
	for id := range s.have {
		sum += (id + 1) * 0x9e3779b97f4a7c15
	}
	return sum, nil
}

func (s *store) Merge(b []byte) error {
	var pass func([]byte)
	if p := s.pass.Load(); p != nil && !cluster.OversizedMessage(b) {
		pass = *p
	}
	for len(b) >= 4 {
		n := int(binary.LittleEndian.Uint32(b))
		if n < 8 || n > len(b)-4 {
			return fmt.Errorf("a record of %d bytes", n)
		}
		if s.put(b[4:4+n]) && pass != nil {
			pass(b[:4+n])
		}
		b = b[4+n:]
	}
	return nil
}

func (s *store) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.have)
}

func (s *store) at(id uint64) (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.arrived[id]
	return t, ok
}

// record is one payload as a store takes it.
func record(id uint64, size int) []byte {
	b := make([]byte, 4+size)
	binary.LittleEndian.PutUint32(b, uint32(size))
	binary.LittleEndian.PutUint64(b[4:], id)
	for i := 12; i < len(b); i++ {
		b[i] = byte(uint64(i) * (id + 7) >> 3)
	}
	return b
}

// send puts a payload into node 0's store and broadcasts it.
func send(m mesh, id uint64, size int) time.Time {
	b := record(id, size)
	m.stores()[0].put(b[4:])
	at := time.Now()
	m.broadcast(b)
	return at
}

// await waits until done, or for at most limit.
func await(limit time.Duration, done func() bool) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(limit)
	for !done() {
		if time.Now().After(deadline) {
			return false
		}
		<-tick.C
	}
	return true
}

// all tells whether every other node has the payload, and since when.
func all(stores []*store, id uint64) (time.Time, bool) {
	var last time.Time
	for _, s := range stores[1:] {
		at, ok := s.at(id)
		if !ok {
			return last, false
		}
		if at.After(last) {
			last = at
		}
	}
	return last, true
}

// measure opens a mesh of n nodes and measures everything with it.
func measure(ctx context.Context, k kind, n int, p plan) (map[string]cell, error) {
	m, err := k.open(n)
	if err != nil {
		return nil, err
	}
	defer m.close()
	if !await(time.Minute, agreed(m, n)) {
		return nil, fmt.Errorf("members: %v", m.members())
	}
	cells := map[string]cell{}
	if err := rest(ctx, p.Settle); err != nil {
		return nil, err
	}
	if cells[rowCPU], cells[rowBytes], err = idle(ctx, n, p.Idle); err != nil {
		return nil, err
	}
	var id uint64
	cells[rowP50], cells[rowP99], id = oneByOne(m, p)
	if cells[rowCrash], err = crash(ctx, k, m, n, p); err != nil {
		return nil, err
	}
	cells[rowLarge], id = large(m, id)
	cells[rowBurst] = burst(m, id, p)
	cells[rowJoin], err = joiner(k)
	return cells, err
}

// agreed tells whether all nodes count want members.
func agreed(m mesh, want int) func() bool {
	return func() bool { return !slices.ContainsFunc(m.members(), func(have int) bool { return have != want }) }
}

// rest does nothing for d.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func oneByOne(m mesh, p plan) (p50, p99 cell, next uint64) {
	sent := make([]time.Time, p.Messages)
	pace := time.NewTicker(p.Pace)
	defer pace.Stop()
	for i := range sent {
		sent[i] = send(m, uint64(i), payload)
		<-pace.C
	}
	var times []time.Duration
	lost := 0
	await(5*time.Second, func() bool { _, ok := all(m.stores(), uint64(p.Messages-1)); return ok })
	for i, at := range sent {
		if last, ok := all(m.stores(), uint64(i)); ok {
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

func large(m mesh, id uint64) (cell, uint64) {
	var times []time.Duration
	for range 21 {
		at := send(m, id, 1<<20)
		await(10*time.Second, func() bool { _, ok := all(m.stores(), id); return ok })
		if last, ok := all(m.stores(), id); ok {
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

func burst(m mesh, id uint64, p plan) cell {
	end := id + uint64(p.Burst)
	start := time.Now()
	for ; id < end; id++ {
		send(m, id, payload)
	}
	missing := func() (most int) {
		for _, s := range m.stores()[1:] {
			most = max(most, m.stores()[0].count()-s.count())
		}
		return most
	}
	if !await(p.Patience, func() bool { return missing() == 0 }) {
		return never(p.Patience, fmt.Sprintf("%.0f%% missing after %v", 100*float64(missing())/float64(p.Burst), p.Patience))
	}
	return took(time.Since(start))
}

// crash has a process join that is killed some time later, over and over.
func crash(ctx context.Context, k kind, m mesh, n int, p plan) (cell, error) {
	var times []time.Duration
	for range p.Kills {
		d, err := kill(ctx, k, m, n, p.Settle)
		if err != nil {
			return cell{}, err
		}
		times = append(times, d)
	}
	slices.Sort(times)
	c := took(times[len(times)/2])
	if len(times) > 1 {
		c.Text += fmt.Sprintf(" (%v to %v)", times[0].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond))
	}
	return c, nil
}

const killPatience = time.Minute

func kill(ctx context.Context, k kind, m mesh, n int, settle time.Duration) (time.Duration, error) {
	cmd, err := self(ctx, modeNode, string(k), m.address())
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	joined := await(killPatience, agreed(m, n+1))
	err = rest(ctx, settle) // what joining sets off is over
	start := time.Now()
	_ = cmd.Process.Kill() // it fails where the process has ended by itself, and then nobody joined
	_ = cmd.Wait()         // it was killed
	if err != nil {
		return 0, err
	}
	if !joined {
		return 0, fmt.Errorf("the process to be killed did not join: members: %v", m.members())
	}
	if !await(killPatience, agreed(m, n)) {
		return 0, fmt.Errorf("a killed process is still a member after %v: members: %v", killPatience, m.members())
	}
	return time.Since(start), nil
}

// joiner measures how long a third node takes that starts with nothing.
func joiner(k kind) (cell, error) {
	m, err := k.open(2)
	if err != nil {
		return cell{}, err
	}
	defer m.close()
	if !await(time.Minute, agreed(m, 2)) {
		return cell{}, fmt.Errorf("members: %v", m.members())
	}
	const records = 10000
	for id := range uint64(records) {
		for _, s := range m.stores() {
			s.put(record(id, payload)[4:])
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

// idle measures this process and the loopback while nothing is sent.
func idle(ctx context.Context, n int, d time.Duration) (cpu, bytes cell, err error) {
	before, sent := cpuTime(), loopback()
	if err := rest(ctx, d); err != nil {
		return cell{}, cell{}, err
	}
	used := (cpuTime() - before).Seconds() * float64(time.Minute) / float64(d) / float64(n)
	rate := float64(loopback()-sent) / d.Seconds() / float64(n)
	return cell{Value: used, Text: fmt.Sprintf("%.3f", used)}, cell{Value: rate, Text: fmt.Sprintf("%.0f", rate)}, nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// loopback returns the bytes sent by the loopback interface so far, headers
// included; 0 where the system does not tell.
func loopback() uint64 {
	b, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if f := strings.Fields(rest); ok && name == "lo" && len(f) > 8 {
			var n uint64
			if _, err := fmt.Sscan(f[8], &n); err == nil {
				return n
			}
		}
	}
	return 0
}
