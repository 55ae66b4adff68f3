package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	rowP50   = "200 bytes reach all, p50"
	rowP99   = "200 bytes reach all, p99"
	rowBurst = "burst reaches all"
	rowLarge = "1 MiB reaches all, p50"
	rowJoin  = "joiner has 2 MB and is ready"
	rowCrash = "killed process dropped by all"
	rowCPU   = "idle, CPU seconds a minute and node"
	rowBytes = "idle, bytes a second and node"

	payload = 200
)

// cell is one measured value.
type cell struct {
	value float64
	text  string
}

func took(d time.Duration) cell { return cell{d.Seconds(), d.Round(10 * time.Microsecond).String()} }

// mesh is a cluster under test, in this process.
type mesh interface {
	broadcast(b []byte)            // from node 0
	stores() []*store              // of all nodes
	members() []int                // as each node counts them
	address() string               // where another node joins
	join() (*store, func(), error) // opens one more node; returns when it is ready
	close()
}

// store is a state: every payload by its number.
type store struct {
	mu      sync.Mutex
	have    map[uint64][]byte
	arrived map[uint64]time.Time
	changed chan struct{}
}

func newStore() *store {
	return &store{have: map[uint64][]byte{}, arrived: map[uint64]time.Time{}, changed: make(chan struct{}, 1)}
}

func (s *store) put(b []byte) {
	now := time.Now()
	id := binary.LittleEndian.Uint64(b)
	s.mu.Lock()
	if _, ok := s.have[id]; !ok {
		s.have[id] = slices.Clone(b)
		s.arrived[id] = now
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
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
	for len(b) >= 4 {
		n := int(binary.LittleEndian.Uint32(b))
		if n < 8 || n > len(b)-4 {
			return fmt.Errorf("a record of %d bytes", n)
		}
		s.put(b[4 : 4+n])
		b = b[4+n:]
	}
	return nil
}

func (s *store) count(from, to uint64) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for id := from; id < to; id++ {
		if _, ok := s.have[id]; ok {
			n++
		}
	}
	return n
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
func measure(ctx context.Context, open func(int) (mesh, error), n int, p plan) (map[string]cell, error) {
	m, err := open(n)
	if err != nil {
		return nil, err
	}
	defer m.close()
	if !await(time.Minute, func() bool { return !slices.ContainsFunc(m.members(), func(have int) bool { return have != n }) }) {
		return nil, fmt.Errorf("members: %v", m.members())
	}
	cells := map[string]cell{}
	cells[rowCPU], cells[rowBytes] = idle(n, p.idle)
	var id uint64
	cells[rowP50], cells[rowP99], id = oneByOne(m, p)
	cells[rowLarge], id = large(m, id)
	cells[rowBurst], _ = burst(m, id, p)
	if cells[rowCrash], err = crash(m, n); err != nil {
		return nil, err
	}
	cells[rowJoin], err = joiner(open)
	if err != nil {
		return nil, err
	}
	return cells, ctx.Err()
}

func oneByOne(m mesh, p plan) (p50, p99 cell, next uint64) {
	sent := make([]time.Time, p.messages)
	pace := time.NewTicker(p.pace)
	defer pace.Stop()
	for i := range sent {
		sent[i] = send(m, uint64(i), payload)
		<-pace.C
	}
	var times []time.Duration
	lost := 0
	await(5*time.Second, func() bool { _, ok := all(m.stores(), uint64(p.messages-1)); return ok })
	for i, at := range sent {
		if last, ok := all(m.stores(), uint64(i)); ok {
			times = append(times, last.Sub(at))
		} else {
			lost++
		}
	}
	slices.Sort(times)
	if len(times) == 0 {
		return cell{}, cell{}, uint64(p.messages)
	}
	p50, p99 = took(times[len(times)/2]), took(times[len(times)*99/100])
	if lost > 0 {
		p99.text += fmt.Sprintf(", %d missing", lost)
	}
	return p50, p99, uint64(p.messages)
}

func large(m mesh, id uint64) (cell, uint64) {
	var times []time.Duration
	for range 7 {
		at := send(m, id, 1<<20)
		await(10*time.Second, func() bool { _, ok := all(m.stores(), id); return ok })
		if last, ok := all(m.stores(), id); ok {
			times = append(times, last.Sub(at))
		}
		id++
	}
	slices.Sort(times)
	if len(times) == 0 {
		return cell{text: "missing"}, id
	}
	return took(times[len(times)/2]), id
}

func burst(m mesh, id uint64, p plan) (cell, uint64) {
	end := id + uint64(p.burst)
	start := time.Now()
	for ; id < end; id++ {
		send(m, id, payload)
	}
	missing := func() int {
		most := 0
		for _, s := range m.stores()[1:] {
			most = max(most, p.burst-s.count(end-uint64(p.burst), end))
		}
		return most
	}
	whole := await(p.patience, func() bool { _, ok := all(m.stores(), end-1); return ok && missing() == 0 })
	c := took(time.Since(start))
	if !whole {
		c.text = fmt.Sprintf("%.0f %% missing after %v", 100*float64(missing())/float64(p.burst), p.patience)
	}
	return c, id
}

// crash joins a process of its own and kills it.
func crash(m mesh, n int) (cell, error) {
	self, err := os.Executable()
	if err != nil {
		return cell{}, err
	}
	kind := "channel"
	if _, ok := m.(*peers); ok {
		kind = "alertmanager"
	}
	cmd := exec.Command(self, "node", kind, m.address())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return cell{}, err
	}
	seen := func(want int) func() bool {
		return func() bool { return !slices.ContainsFunc(m.members(), func(have int) bool { return have != want }) }
	}
	joined := await(time.Minute, seen(n+1))
	start := time.Now()
	if err := cmd.Process.Kill(); err != nil {
		return cell{}, err
	}
	_ = cmd.Wait() // it was killed
	if !joined {
		return cell{}, fmt.Errorf("the process to be killed did not join: %v", m.members())
	}
	if !await(time.Minute, seen(n)) {
		return cell{text: "not within a minute"}, nil
	}
	return took(time.Since(start)), nil
}

// joiner measures how long a third node takes that starts with nothing.
func joiner(open func(int) (mesh, error)) (cell, error) {
	m, err := open(2)
	if err != nil {
		return cell{}, err
	}
	defer m.close()
	const records = 10000
	for id := range uint64(records) {
		for _, s := range m.stores() {
			s.put(record(id, payload)[4:])
		}
	}
	start := time.Now()
	s, leave, err := m.join()
	if err != nil {
		return cell{}, err
	}
	defer leave()
	await(time.Minute, func() bool { return s.count(0, records) == records })
	return took(time.Since(start)), nil
}

// idle measures this process and the loopback while nothing is sent.
func idle(n int, d time.Duration) (cpu, bytes cell) {
	before, sent := cpuTime(), loopback()
	<-time.After(d)
	used := (cpuTime() - before).Seconds() * float64(time.Minute) / float64(d) / float64(n)
	rate := float64(loopback()-sent) / d.Seconds() / float64(n)
	return cell{used, fmt.Sprintf("%.3f", used)}, cell{rate, fmt.Sprintf("%.0f", rate)}
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
