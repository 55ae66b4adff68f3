package main

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// feed has packets of 1,000 bytes come at a pace, and returns how long each
// that arrives was on its way.
func feed(c condition, count int, pace time.Duration) (took []time.Duration, overtook int) {
	d := direction{condition: c, random: rand.New(rand.NewPCG(1, 2))}
	start := time.Now()
	latest := start
	for i := range count {
		now := start.Add(time.Duration(i) * pace)
		at, ok := d.due(now, 1000)
		if !ok {
			continue
		}
		took = append(took, at.Sub(now))
		if at.Before(latest) {
			overtook++
		} else {
			latest = at
		}
	}
	return took, overtook
}

func TestConditions(t *testing.T) {
	const count = 100_000
	for name, c := range map[string]struct {
		condition
		pace        time.Duration
		least, most time.Duration
		lost        float64 // share
		overtook    float64 // share
	}{
		"nothing": {pace: ms},
		"delay":   {condition{delay: 50 * ms}, ms, 50 * ms, 50 * ms, 0, 0},
		"jitter":  {condition{delay: 50 * ms, jitter: 20 * ms}, ms, 30 * ms, 70 * ms, 0, 0},
		"loss":    {condition{loss: 0.05}, ms, 0, 0, 0.05, 0},
		"early":   {condition{delay: 20 * ms, early: 0.25}, ms, 0, 20 * ms, 0, 0.25},
		"slow":    {condition{rate: 10e6, queue: 64 << 10}, ms, 800 * time.Microsecond, 800 * time.Microsecond, 0, 0},
		"full":    {condition{rate: 4e6, queue: 10_000}, ms, 2 * ms, 20 * ms, 0.5, 0},
	} {
		t.Run(name, func(t *testing.T) {
			took, overtook := feed(c.condition, count, c.pace)
			if least, most := slices.Min(took), slices.Max(took); least < c.least || most > c.most+time.Microsecond {
				t.Errorf("from %v to %v, not %v to %v", least, most, c.least, c.most)
			}
			if lost := 1 - float64(len(took))/count; math.Abs(lost-c.lost) > 0.005 {
				t.Errorf("%.3f is lost, not %.3f", lost, c.lost)
			}
			if share := float64(overtook) / count; math.Abs(share-c.overtook) > 0.02 {
				t.Errorf("%.3f overtook, not %.3f", share, c.overtook)
			}
		})
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(nodeVariable) != "" {
		serve()
		return
	}
	os.Exit(m.Run())
}

// mayMakeLinks skips a test where a link cannot be made, and says why.
func mayMakeLinks(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a TUN device and a network namespace need root")
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there is no TUN device: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestLinksDoWhatTheySay(t *testing.T) {
	mayMakeLinks(t)
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			got, err := s.check(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("there and back %v, %.1f %% lost, %d overtaken", got.median(), 100*got.lost(), got.overtaken)
		})
	}
}

func TestRateOfALink(t *testing.T) {
	mayMakeLinks(t)
	const count, size = 400, 1172 // 1,200 with its headers; 384 kbit more than the queue holds
	s := setting{condition: condition{rate: 10e6, queue: 256 << 10}}
	n, pinger, echoer, err := s.pair(t.Context())
	t.Cleanup(func() {
		if err := n.remove(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := pinger.call(order{Do: "ping", Peers: []string{echoer}, Count: count, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	rate := float64(len(r.Trips)-1) * (size + 28) * 8 / r.Spread.Seconds()
	if rate < 8e6 || rate > 10.5e6 {
		t.Errorf("%d came back within %v: %.1f Mbit/s, not 10", len(r.Trips), r.Spread, rate/1e6)
	}
	if held := 256 << 10 / (size + 28); len(r.Trips) < held-1 || len(r.Trips) == count {
		t.Errorf("%d of %d came back, of which the queue holds %d", len(r.Trips), count, held)
	}
}

// TestRefusal sends what is larger than a link takes: it is lost, and its sender
// is told, so that the next goes in parts.
func TestRefusal(t *testing.T) {
	mayMakeLinks(t)
	s := setting{condition: condition{mtu: 1280}}
	n, pinger, echoer, err := s.pair(t.Context())
	t.Cleanup(func() {
		if err := n.remove(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := pinger.call(order{Do: "ping", Peers: []string{echoer}, Count: 10, Size: 1400, Pace: 20 * ms})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Trips) < 7 || len(r.Trips) == 10 {
		t.Errorf("%d of 10 came back; the first each way should have been lost alone", len(r.Trips))
	}
}
