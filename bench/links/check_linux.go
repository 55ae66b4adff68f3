package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// trip is what datagrams met that were sent there and back over a link.
type trip struct {
	sent      int
	times     []time.Duration // in order
	overtaken int
	late      time.Duration // what the machine added each way, at most for 99 of a hundred
}

func (t trip) median() time.Duration { return t.times[len(t.times)/2] }
func (t trip) lost() float64         { return 1 - float64(len(t.times))/float64(t.sent) }

// check sends datagrams over a link, and returns an error where it does not do
// what its condition says.
func (s setting) check(ctx context.Context) (t trip, err error) {
	n, pinger, echoer, err := s.pair(ctx)
	defer func() { err = errors.Join(err, n.remove()) }()
	if err != nil {
		return t, err
	}
	t.sent = 1000
	r, err := pinger.call(order{Do: "ping", Peers: []string{echoer}, Count: t.sent, Size: payload, Pace: 2 * ms})
	if err != nil {
		return t, err
	}
	t.times, t.overtaken, t.late = r.Trips, r.Overtook, n.wires.late.p99()
	slices.Sort(t.times)
	return t, t.judge(s.condition)
}

// pair makes two hosts with a link of the condition both ways. The second sends
// back what comes to the address.
func (s setting) pair(ctx context.Context) (n *network, pinger *host, echoer string, err error) {
	n = build(ctx, func(_, _ int) condition { return s.condition })
	for range 2 {
		if _, err := n.node(); err != nil {
			return n, nil, "", err
		}
	}
	n.wires.start()
	echoer = n.hosts[1].ip + ":7007"
	_, err = n.hosts[1].call(order{Do: "echo", Listen: echoer})
	return n, n.hosts[0], echoer, err
}

// judge compares. That the machine adds to a delay is no error of the link.
func (t trip) judge(c condition) error {
	if len(t.times) == 0 {
		return errors.New("nothing came back")
	}
	least, most := 2*c.delay, 2*c.delay+20*ms+2*t.late
	if c.jitter > 0 { // a median is of what waits for another, too
		most += 2 * c.jitter
	}
	if c.early > 0 {
		least = c.delay
	}
	if m := t.median(); m < least || m > most {
		return fmt.Errorf("there and back takes %v, not %v to %v", m, least, most)
	}
	lost := 1 - (1-c.loss)*(1-c.loss)
	if off := 5*math.Sqrt(lost*(1-lost)/float64(t.sent)) + 0.001; math.Abs(t.lost()-lost) > off {
		return fmt.Errorf("%.1f %% is lost there and back, not %.1f give or take %.1f", 100*t.lost(), 100*lost, 100*off)
	}
	if (t.overtaken > 0) != (c.early > 0) {
		return fmt.Errorf("%d of %d were overtaken", t.overtaken, t.sent)
	}
	return nil
}
