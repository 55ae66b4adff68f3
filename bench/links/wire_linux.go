package main

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// wires connect the devices of several namespaces, each with each.
type wires struct {
	between func(from, to int) condition

	ports []*port
	done  chan struct{}
	tasks sync.WaitGroup
	late  lateness
}

// port is a device, as this process has it.
type port struct {
	number int
	addr   netip.Addr
	device string // its name, until it is in its namespace
	file   *os.File
	cut    atomic.Bool // nothing comes and goes

	mu      sync.Mutex
	waiting packets
	sooner  chan struct{} // the first of waiting is another one
}

// packet is one that will be written to its port.
type packet struct {
	at    time.Time
	order uint64 // of those with the same time, by when they came
	b     []byte
}

type packets []packet

func (p packets) Len() int { return len(p) }
func (p packets) Less(i, j int) bool {
	return p[i].at.Before(p[j].at) || p[i].at.Equal(p[j].at) && p[i].order < p[j].order
}
func (p packets) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *packets) Push(x any)   { *p = append(*p, x.(packet)) }
func (p *packets) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	(*p)[last] = packet{}
	*p = (*p)[:last]
	return x
}

func newWires(between func(from, to int) condition) *wires {
	return &wires{between: between, done: make(chan struct{})}
}

// add makes a device, in the namespace of this process, down and with no address.
func (w *wires) add(addr netip.Addr) (*port, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq("cclink%d")
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a TUN device cannot be made: %w", err), unix.Close(fd))
	}
	p := &port{number: len(w.ports), addr: addr, device: request.Name(), file: os.NewFile(uintptr(fd), "tun"), sooner: make(chan struct{}, 1)}
	w.ports = append(w.ports, p)
	return p, nil
}

// start begins to forward between all that was added.
func (w *wires) start() {
	for _, p := range w.ports {
		w.tasks.Go(func() { w.read(p) })
		w.tasks.Go(func() { w.write(p) })
	}
}

// close ends forwarding, and removes the devices.
func (w *wires) close() error {
	close(w.done)
	var errs []error
	for _, p := range w.ports {
		errs = append(errs, p.file.Close())
	}
	w.tasks.Wait()
	return errors.Join(errs...)
}

const (
	largest  = 1 << 16
	ipHeader = 20
)

func (w *wires) read(from *port) {
	to := map[netip.Addr]*port{}
	directions := make([]direction, len(w.ports))
	for i, p := range w.ports {
		to[p.addr] = p
		directions[i] = direction{condition: w.between(from.number, i), random: rand.New(rand.NewPCG(uint64(from.number), uint64(i)))}
	}
	b := make([]byte, largest)
	for order := uint64(0); ; order++ {
		n, err := from.file.Read(b)
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil: // the device is down, until its namespace has set it up
			select {
			case <-w.done:
				return
			case <-time.After(ms):
			}
			continue
		case n < ipHeader || b[0]>>4 != 4:
			continue
		}
		now := time.Now()
		p := to[netip.AddrFrom4([4]byte(b[16:20]))]
		if p == nil || from.cut.Load() || p.cut.Load() {
			continue
		}
		d := &directions[p.number]
		if d.mtu > 0 && n > d.mtu {
			from.put(packet{now, order, tooLarge(b[:n], d.mtu)})
			continue
		}
		if at, ok := d.due(now, n); ok {
			p.put(packet{at, order, append([]byte(nil), b[:n]...)})
		}
	}
}

func (p *port) put(one packet) {
	p.mu.Lock()
	heap.Push(&p.waiting, one)
	first := p.waiting[0].at
	p.mu.Unlock()
	if first.Equal(one.at) {
		select {
		case p.sooner <- struct{}{}:
		default:
		}
	}
}

func (w *wires) write(p *port) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		p.mu.Lock()
		wait := time.Hour
		var one packet
		if len(p.waiting) > 0 {
			if wait = time.Until(p.waiting[0].at); wait <= 0 {
				one = heap.Pop(&p.waiting).(packet)
			}
		}
		p.mu.Unlock()
		if one.b != nil {
			w.late.add(-wait)
			if _, err := p.file.Write(one.b); errors.Is(err, os.ErrClosed) {
				return // any other error is a packet that the namespace did not take
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-p.sooner:
		case <-w.done:
			return
		}
	}
}

// router is the address that refuses what is too large.
var router = netip.AddrFrom4([4]byte{198, 18, 100, 254})

// tooLarge is what a router answers to a packet that it may not take apart:
// ICMP's "fragmentation needed", with the MTU (RFC 1191).
func tooLarge(b []byte, mtu int) []byte {
	const icmpHeader = 8
	quoted := b[:min(len(b), int(b[0]&15)*4+8)]
	r := make([]byte, ipHeader+icmpHeader, ipHeader+icmpHeader+len(quoted))
	r = append(r, quoted...)
	r[0], r[8], r[9] = 0x45, 64, unix.IPPROTO_ICMP
	binary.BigEndian.PutUint16(r[2:], uint16(len(r)))
	from := router.As4()
	copy(r[12:], from[:])
	copy(r[16:], b[12:16])
	binary.BigEndian.PutUint16(r[10:], checksum(r[:ipHeader]))
	r[ipHeader], r[ipHeader+1] = 3, 4
	binary.BigEndian.PutUint16(r[ipHeader+6:], uint16(mtu))
	binary.BigEndian.PutUint16(r[ipHeader+2:], checksum(r[ipHeader:]))
	return r
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b)-1; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 > 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// lateness is how much later than due packets were written: by the machine's
// doing, not the condition's.
type lateness struct {
	buckets [32]atomic.Uint64 // by powers of two, in microseconds
	most    atomic.Int64
}

func (l *lateness) add(d time.Duration) {
	l.buckets[min(bits.Len64(uint64(d.Microseconds())), len(l.buckets)-1)].Add(1)
	for most := l.most.Load(); int64(d) > most && !l.most.CompareAndSwap(most, int64(d)); most = l.most.Load() {
	}
}

// p99 is what 99 of a hundred are not later than, up to the next power of two.
func (l *lateness) p99() time.Duration {
	var all, some uint64
	for i := range l.buckets {
		all += l.buckets[i].Load()
	}
	for i := range l.buckets {
		if some += l.buckets[i].Load(); some*100 >= all*99 {
			return time.Microsecond << i
		}
	}
	return 0
}
