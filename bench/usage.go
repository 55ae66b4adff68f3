package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is what was used so far, or between two readings.
type usage struct {
	In, Out float64       // messages to and from the server; without one, packets of the loopback are Out
	Bytes   float64       // in both directions
	BytesIn float64       // of these to the server; 0: it does not tell
	Said    float64       // bytes that our nodes handed to their drivers
	Server  time.Duration // CPU time; 0 if unknown
	Own     time.Duration // CPU time of this process
}

func (u usage) since(v usage) usage {
	return usage{u.In - v.In, u.Out - v.Out, u.Bytes - v.Bytes, u.BytesIn - v.BytesIn, u.Said - v.Said, u.Server - v.Server, u.Own - v.Own}
}

func (u usage) plus(v usage) usage {
	return usage{u.In + v.In, u.Out + v.Out, u.Bytes + v.Bytes, u.BytesIn + v.BytesIn, u.Said + v.Said, u.Server + v.Server, u.Own + v.Own}
}

func (u usage) times(f float64) usage {
	scale := func(d time.Duration) time.Duration { return time.Duration(float64(d) * f) }
	return usage{u.In * f, u.Out * f, u.Bytes * f, u.BytesIn * f, u.Said * f, scale(u.Server), scale(u.Own)}
}

func (u usage) messages() float64 { return u.In + u.Out }

// look reads all counters.
func look(ctx context.Context, p place, m mesh) (u usage, err error) {
	if s := servers[p.Backend]; s.usage != nil {
		u, err = s.usage(ctx, p.Server)
		if heard := m.heard(); heard > 0 {
			u.Out = float64(heard)
		}
		if cpu := cpuOf(p.Server.PID); cpu > 0 {
			u.Server = cpu
		}
	} else {
		u.Out, u.Bytes = loopback()
	}
	u.Own = cpuTime()
	if own, ok := m.(*seats); ok {
		u.Said = own.said()
	}
	return u, err
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cpuOf returns the time that the threads of a process have run; 0 if unknown.
func cpuOf(pid int) (total time.Duration) {
	if pid == 0 {
		return 0
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0
	}
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var ran int64
		if _, err := fmt.Sscan(string(b), &ran); err == nil {
			total += time.Duration(ran)
		}
	}
	return total
}

// loopback returns the packets and bytes sent by the loopback interface so far,
// headers included; 0 if unknown.
func loopback() (packets, bytes float64) {
	b, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		f := strings.Fields(rest)
		if !ok || name != "lo" || len(f) < 10 {
			continue
		}
		bytes, _ = strconv.ParseFloat(f[8], 64)
		packets, _ = strconv.ParseFloat(f[9], 64)
	}
	return packets, bytes
}

// get reads a page of a server's monitoring.
func get(ctx context.Context, url string, read func(*http.Response) error) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return read(resp)
}
