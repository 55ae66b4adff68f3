// Package peer is a node in a process of its own that takes orders: one of ours, or a
// peer of Alertmanager's package.
package peer

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Peer is a node with a state of records.
type Peer struct {
	Store   *Store
	Members func() int // nil: it is not open
}

// New returns a peer that is not open. Of its records it keeps those of so many of the
// newest numbers, or all where that is 0.
func New(keep uint64) *Peer {
	return &Peer{Store: &Store{keep: keep, have: map[uint64][]byte{}, arrived: map[uint64]time.Duration{}}}
}

// OpenTheirs opens it with the settings that Alertmanager has by default.
func (p *Peer) OpenTheirs(log *slog.Logger, reg prometheus.Registerer, label, name, listen string, peers []string) error {
	theirs, err := cluster.Create(log, reg, listen, "", peers, true,
		cluster.DefaultPushPullInterval, cluster.DefaultGossipInterval, cluster.DefaultTCPTimeout, cluster.DefaultResolvePeersTimeout,
		cluster.DefaultProbeTimeout, cluster.DefaultProbeInterval, nil, true, label, name)
	if err != nil {
		return err
	}
	p.Members, p.Store.pass = theirs.ClusterSize, theirs.AddState("s", p.Store, reg).Broadcast
	_ = theirs.Join(cluster.DefaultReconnectInterval, cluster.DefaultReconnectTimeout) // it keeps trying by itself
	go theirs.Settle(context.Background(), 10*cluster.DefaultGossipInterval)
	return nil
}

// Open opens it as one of ours.
func (p *Peer) Open(c backend.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ours, err := backend.Open(ctx, c)
	if err != nil {
		return err
	}
	channel, err := ours.AddState("s", p.Store, nil)
	if err != nil {
		return errors.Join(err, ours.Close(ctx))
	}
	p.Members, p.Store.pass = func() int { return len(ours.Members()) }, channel.Broadcast
	return nil
}

// answer is what an order is answered with.
type answer[R any] struct {
	Report R
	Err    string
}

// Serve follows the orders that come from the standard input, until there is no more.
func Serve[O, R any](do func(O) (R, error)) {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var order O
		if in.Decode(&order) != nil {
			return
		}
		r, err := do(order)
		a := answer[R]{Report: r}
		if err != nil {
			a.Err = err.Error()
		}
		if out.Encode(a) != nil {
			return
		}
	}
}

// Call has a process that serves follow an order.
func Call[R any](to *json.Encoder, from *json.Decoder, order any) (R, error) {
	var a answer[R]
	err := to.Encode(order)
	if err == nil {
		err = from.Decode(&a)
	}
	if err == nil && a.Err != "" {
		err = errors.New(a.Err)
	}
	return a.Report, err
}
