package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/program"
)

// system is what is measured.
type system struct {
	name   string
	server []string // the program of its server with its arguments; "$IP" is its address, "$DATA" its directory
	param  string   // which says where the server is
	port   string
}

const theirs = "Alertmanager"

var systems = []system{
	{name: theirs},
	{name: "memberlist"},
	{
		name: "redis", param: "address", port: "6379",
		server: []string{"redis-server", "--bind", "$IP", "--port", "6379", "--protected-mode", "no", "--save", "", "--dir", "$DATA", "--logfile", "$DATA/log"},
	},
	{
		name: "nats", param: "servers", port: "4222",
		server: []string{"nats-server", "--addr", "$IP", "--port", "4222", "--log", "$DATA/log"},
	},
	{
		name: "etcd", param: "endpoints", port: "2379",
		server: []string{
			"etcd", "--data-dir", "$DATA", "--listen-client-urls", "http://$IP:2379", "--advertise-client-urls", "http://$IP:2379",
			"--listen-peer-urls", "http://$IP:2380", "--initial-advertise-peer-urls", "http://$IP:2380", "--initial-cluster", "default=http://$IP:2380",
			"--log-level", "error", "--log-outputs", "$DATA/log",
		},
	},
}

const (
	nodes     = 5
	payload   = 200 // bytes
	pace      = 200 * ms
	patience  = time.Minute     // for what must be
	longest   = 2 * time.Minute // for what is measured
	cutFor    = 10 * time.Second
	unnoticed = 3 * time.Second // between what is measured
)

// outcome is what one system did on one kind of link.
type outcome struct {
	System, Setting string
	Reached         []time.Duration // until all had it, in order; longest: not all had it
	Gone            float64
	Repair          time.Duration // longest: not all had all
	Late            time.Duration // what a hundredth of the packets was later than its link says
	LateMost        time.Duration
	Counters        map[string]float64
}

// between returns the links of a cluster. The server, which is the last host, is
// in the first zone.
func (s setting) between(from, to int) condition {
	away := func(i int) bool { return i == nodes-2 || i == nodes-1 }
	if s.far && away(from) == away(to) {
		return condition{}
	}
	return s.condition
}

// measure has a cluster of a system live on links.
func (s setting) measure(ctx context.Context, of system, d time.Duration, logs string) (out outcome, err error) {
	out.System, out.Setting = of.name, s.name
	n := build(ctx, s.between)
	defer func() { err = errors.Join(err, n.remove()) }()
	data, err := os.MkdirTemp("", "clusterchannel-links-")
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(data)) }()
	for range nodes {
		if _, err := n.node(); err != nil {
			return out, err
		}
	}
	all := slices.Clone(n.hosts)
	params := map[string]string{}
	if of.server != nil {
		server, err := n.server(of, data)
		if err != nil {
			return out, err
		}
		params[of.param] = server.ip + ":" + of.port
	}
	n.wires.start()
	if err := form(n, of, all, params, s.name, logs); err != nil {
		return out, err
	}
	c := crowd{n, all, 0}
	if err := c.talk(unnoticed); err != nil { // what joining has to send is over
		return out, err
	}
	since := c.said
	if err := c.talk(d); err != nil {
		return out, err
	}
	if _, err := c.allHave(longest); err != nil {
		return out, err
	}
	if out.Reached, err = c.reached(since); err != nil {
		return out, err
	}
	if out.Gone, out.Counters, err = c.gone(); err != nil {
		return out, err
	}
	all[nodes-1].port.cut.Store(true)
	if err := c.talk(cutFor); err != nil {
		return out, err
	}
	all[nodes-1].port.cut.Store(false)
	out.Repair, err = c.allHave(longest)
	out.Late, out.LateMost = n.wires.late.p99(), time.Duration(n.wires.late.most.Load())
	return out, err
}

func (n *network) server(of system, data string) (*host, error) {
	path, err := program.Find(of.server[0])
	if err != nil {
		return nil, err
	}
	args := []string{path}
	for _, a := range of.server[1:] {
		a = strings.ReplaceAll(a, "$IP", fmt.Sprint(subnet, len(n.hosts)+1))
		args = append(args, strings.ReplaceAll(a, "$DATA", data))
	}
	return n.host(args...)
}

// form opens the nodes, and waits until they agree.
func form(n *network, of system, all []*host, params map[string]string, name, logs string) error {
	var peers []string
	for _, h := range all {
		peers = append(peers, h.ip+":9094")
	}
	for i, h := range all {
		o := order{Do: "open", System: of.name, Name: fmt.Sprintf("node-%d", i+1), Listen: peers[i], Peers: peers, Params: params}
		if of.name == "memberlist" {
			o.Params = map[string]string{"listen_address": peers[i], "peers": strings.Join(peers, ",")}
		}
		if logs != "" {
			o.Log = filepath.Join(logs, fmt.Sprintf("%s-%s-%d.log", name, of.name, i+1))
		}
		if _, err := h.call(o); err != nil {
			return err
		}
	}
	agreed, err := n.until(patience, func() (bool, error) {
		for _, h := range all {
			if r, err := h.call(order{}); err != nil || r.Members != len(all) {
				return false, err
			}
		}
		return true, nil
	})
	if err == nil && !agreed {
		err = fmt.Errorf("the nodes do not see each other within %v", patience)
	}
	return err
}

// crowd is a cluster that speaks.
type crowd struct {
	*network
	nodes []*host
	said  uint64
}

// talk has each node in turn say something.
func (c *crowd) talk(d time.Duration) error {
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for range d / pace {
		if _, err := c.nodes[c.said%uint64(len(c.nodes))].call(order{Do: "say", ID: c.said}); err != nil {
			return err
		}
		c.said++
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
	return nil
}

// allHave waits until all have all that was said, and says how long that took.
func (c *crowd) allHave(limit time.Duration) (time.Duration, error) {
	began := time.Now()
	ok, err := c.until(limit, func() (bool, error) {
		for _, h := range c.nodes {
			if r, err := h.call(order{}); err != nil || r.Records != int(c.said) {
				return false, err
			}
		}
		return true, nil
	})
	if !ok {
		return limit, err
	}
	return time.Since(began), err
}

// reached returns when all had what was said, in order.
func (c *crowd) reached(since uint64) ([]time.Duration, error) {
	times := make([]time.Duration, c.said-since)
	for _, h := range c.nodes {
		r, err := h.call(order{Do: "arrived"})
		if err != nil {
			return nil, err
		}
		for i := range times {
			after, ok := r.Arrived[since+uint64(i)]
			if !ok {
				after = longest
			}
			times[i] = max(times[i], after)
		}
	}
	slices.Sort(times)
	return times, nil
}

// gone returns how often a node saw another one go, and all that was counted.
func (c *crowd) gone() (times float64, all map[string]float64, err error) {
	all = map[string]float64{}
	for _, h := range c.nodes {
		r, err := h.call(order{Do: "count"})
		if err != nil {
			return 0, nil, err
		}
		times += r.Gone
		for name, v := range r.Counters {
			all[name] += v
		}
	}
	return times, all, nil
}
