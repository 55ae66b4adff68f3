package main

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// echo sends back what comes to a UDP address, until the process ends.
func echo(addr string) error {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	go func() {
		b := make([]byte, largest)
		for {
			n, from, err := c.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteTo(b[:n], from) // a loss shows
			}
		}
	}()
	return nil
}

// ping sends datagrams to who sends them back, and reports how long each that
// came back took, how many came after one that was sent later, and how long it
// was from the first that came back to the last.
func ping(o order) (r report, err error) {
	c, err := net.Dial("udp", o.Peers[0])
	if err != nil {
		return r, err
	}
	sent := make(chan error, 1)
	start := time.Now()
	go func() {
		b := make([]byte, o.Size)
		pace := time.NewTicker(max(o.Pace, 1))
		defer pace.Stop()
		for i := range o.Count {
			binary.LittleEndian.PutUint32(b, uint32(i))
			binary.LittleEndian.PutUint64(b[4:], uint64(time.Since(start)))
			if _, err := c.Write(b); err != nil && !errors.Is(err, syscall.EMSGSIZE) {
				sent <- err
				return
			}
			if o.Pace > 0 {
				<-pace.C
			}
		}
		sent <- nil
	}()
	const quiet = time.Second // after the last, nothing more is on its way
	b := make([]byte, largest)
	latest, first, last := -1, time.Time{}, time.Time{}
	for len(r.Trips) < o.Count {
		if err := c.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			return r, errors.Join(err, c.Close())
		}
		n, err := c.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if errors.Is(err, syscall.EMSGSIZE) { // a router refused one that was too large
			continue
		}
		if err != nil || n < 12 {
			return r, errors.Join(err, c.Close())
		}
		last = time.Now()
		if first.IsZero() {
			first = last
		}
		r.Trips = append(r.Trips, time.Since(start)-time.Duration(binary.LittleEndian.Uint64(b[4:])))
		if number := int(binary.LittleEndian.Uint32(b)); number < latest {
			r.Overtook++
		} else {
			latest = number
		}
	}
	r.Spread = last.Sub(first)
	return r, errors.Join(<-sent, c.Close())
}
