// Package grafanapeer is a model of the peers by which Grafana's alerting shares
// its state over Redis: the same keys, channels, payloads, queues and periods. It
// shares no code with this project's own driver, so that tests and benchmarks
// can compare the two.
//
// Heartbeats are keys with a unix time in them; members are found by a scan of
// the keys. Each state has a channel of its own, besides the channels full_state
// and full_state:request.
package grafanapeer

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/cluster/clusterpb"
	"github.com/redis/go-redis/v9"
	"google.golang.org/protobuf/proto"
)

// State is what peers share.
type State interface {
	// MarshalBinary returns the whole state.
	MarshalBinary() ([]byte, error)

	// Merge merges an update, or another peer's whole state.
	Merge(b []byte) error
}

// Options are how a peer is started. Zero periods and sizes are Grafana's.
type Options struct {
	Client redis.UniversalClient // required; it stays the caller's
	Name   string                // ha_redis_peer_name
	Prefix string                // ha_redis_prefix; a colon is added if it does not end in one
	Logger *slog.Logger          // nil: slog.Default()

	Heartbeat      time.Duration // between writes of the own key; 5s
	Scan           time.Duration // between looks at all keys; 5s
	Timeout        time.Duration // age at which a heartbeat no longer counts; 60s
	TTL            time.Duration // of the own key; 300s
	PushPull       time.Duration // between full states; 60s
	ReceivePoll    time.Duration // sleep while a channel is idle; 100ms
	SettlePoll     time.Duration // between counts of members at the start; 2s
	SettleDeadline time.Duration // after which a peer counts as settled anyhow; 30s
	Queue          int           // updates of one state that wait to be sent; 200
}

func (o *Options) complete() {
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.Heartbeat = cmp.Or(o.Heartbeat, 5*time.Second)
	o.Scan = cmp.Or(o.Scan, 5*time.Second)
	o.Timeout = cmp.Or(o.Timeout, time.Minute)
	o.TTL = cmp.Or(o.TTL, 5*time.Minute)
	o.PushPull = cmp.Or(o.PushPull, time.Minute)
	o.ReceivePoll = cmp.Or(o.ReceivePoll, 100*time.Millisecond)
	o.SettlePoll = cmp.Or(o.SettlePoll, 2*time.Second)
	o.SettleDeadline = cmp.Or(o.SettleDeadline, 30*time.Second)
	o.Queue = cmp.Or(o.Queue, 200)
	if o.Prefix != "" && !strings.HasSuffix(o.Prefix, ":") {
		o.Prefix += ":"
	}
}

const (
	fullState        = "full_state"
	fullStateRequest = "full_state:request"
	leaveTimeout     = 5 * time.Second
	settled          = 3 // equal counts in a row
)

// Stats count what a peer did.
type Stats struct {
	UpdatesSent, UpdatesReceived       int // received ones include the peer's own
	FullStatesSent, FullStatesReceived int
	BufferOverflows, PublishErrors     int // updates that were lost
	Unknown                            int // parts of states that the peer does not have
}

// Peer is one running peer.
type Peer struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	ready  chan struct{}

	mu      sync.Mutex
	states  map[string]State
	members []string // full keys
	fetched time.Time
	stats   Stats
}

// Start starts a peer. Like Grafana it does not need Redis to answer.
func Start(o Options) *Peer {
	o.complete()
	p := &Peer{o: o, ready: make(chan struct{}), states: map[string]State{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.receive(fullState, p.mergeFullState)
	p.receive(fullStateRequest, p.answer)
	p.every(o.Heartbeat, p.beat)
	p.every(o.Scan, p.scan)
	p.every(o.PushPull, p.publishFullState)
	p.wg.Go(p.settle)
	return p
}

// every calls f each d, the first time after d.
func (p *Peer) every(d time.Duration, f func()) {
	p.wg.Go(func() {
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				f()
			case <-p.ctx.Done():
				return
			}
		}
	})
}

// Name is the peer's full key.
func (p *Peer) Name() string { return p.prefixed(p.o.Name) }

func (p *Peer) prefixed(name string) string { return p.o.Prefix + name }

func (p *Peer) beat() {
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	if err := p.o.Client.Set(p.ctx, p.Name(), stamp, p.o.TTL).Err(); err != nil {
		p.o.Logger.Error("setting the heartbeat", "err", err)
	}
}

func (p *Peer) scan() {
	members, err := p.fetch()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.members, p.fetched = members, time.Now()
	case time.Since(p.fetched) > p.o.Timeout:
		p.members = nil
	}
}

// keys returns all raw keys of the prefix, as the scan reports them.
func (p *Peer) keys(ctx context.Context) ([]string, error) {
	var all []string
	var cursor uint64
	for {
		keys, next, err := p.o.Client.Scan(ctx, cursor, p.o.Prefix+"*", 100).Result()
		if err != nil {
			return nil, err
		}
		all = append(all, keys...)
		if cursor = next; cursor == 0 {
			return all, nil
		}
	}
}

func (p *Peer) fetch() ([]string, error) {
	keys, err := p.keys(p.ctx)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	values, err := p.o.Client.MGet(p.ctx, keys...).Result()
	if err != nil {
		return nil, err
	}
	var members []string
	for i, v := range values {
		text, ok := v.(string)
		if !ok {
			continue
		}
		stamp, err := strconv.ParseInt(text, 10, 64)
		if err != nil || time.Now().Unix()-stamp > int64(p.o.Timeout/time.Second) {
			continue
		}
		members = append(members, keys[i])
	}
	slices.Sort(members)
	return slices.Compact(members), nil
}

// Members returns the full keys of the live members, in order.
func (p *Peer) Members() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.members)
}

// Position is the index of the peer among the members, or 0 where it is not
// listed.
func (p *Peer) Position() int { return max(slices.Index(p.Members(), p.Name()), 0) }

// ClusterSize counts the raw keys of the prefix by a scan of its own.
func (p *Peer) ClusterSize() int {
	keys, err := p.keys(p.ctx)
	if err != nil {
		return 0
	}
	return len(keys)
}

// Stats returns what the peer did so far.
func (p *Peer) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

func (p *Peer) count(f func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.stats)
}

// settle asks for the others' state once the number of members has stayed the
// same for a while.
func (p *Peer) settle() {
	defer close(p.ready)
	deadline := time.NewTimer(p.o.SettleDeadline)
	defer deadline.Stop()
	poll := time.NewTicker(p.o.SettlePoll)
	defer poll.Stop()
	last, same := 0, 0
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-deadline.C:
			return
		case <-poll.C:
		}
		if same >= settled {
			break
		}
		if n := len(p.Members()); n == last {
			same++
		} else {
			last, same = n, 0
		}
	}
	if err := p.o.Client.Publish(p.ctx, p.prefixed(fullStateRequest), p.o.Name).Err(); err != nil {
		p.o.Logger.Error("requesting the full state", "err", err)
	}
}

// WaitReady waits until the peer has settled.
func (p *Peer) WaitReady(ctx context.Context) error {
	select {
	case <-p.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Kill ends the peer as the end of its process would.
func (p *Peer) Kill() {
	p.cancel()
	p.wg.Wait()
}

// Close leaves: the full state is published, then the own key deleted.
func (p *Peer) Close() error {
	p.Kill()
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	return errors.Join(p.publishFullStateTo(ctx), p.o.Client.Del(ctx, p.Name()).Err())
}

func encode(m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err) // only for text that is not UTF-8
	}
	return b
}

func part(key string, data []byte) *clusterpb.Part { return &clusterpb.Part{Key: key, Data: data} }
