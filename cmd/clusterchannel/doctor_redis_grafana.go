package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/redis"
)

// What package redis documents of Grafana's wire.
const (
	ownChannel  = "clusterchannel" // after the prefix; Grafana's peers do not subscribe to it
	grafanaLife = time.Minute      // for which a heartbeat counts
	instanceLen = 13               // of a node of ours, whose key is name+instance
)

// grafanaBus carries frames among nodes of ours on Grafana's wire, and tells who
// is there. The driver itself would write a heartbeat, and so be a member: this
// one asks for each of its rights in a way that changes nothing.
type grafanaBus struct {
	client goredis.UniversalClient
	sub    *goredis.PubSub
	prefix string
	key    string // which nobody has
	full   error  // why the server takes no heartbeat for now
	h      driver.Handler
	wg     sync.WaitGroup
}

// openGrafanaBus returns a driver.OpenFunc.
func openGrafanaBus(p redis.Params) driver.OpenFunc {
	return func(ctx context.Context, o driver.Options, h driver.Handler) (driver.Driver, error) {
		t, err := p.TLSConfig(p.TLSMinVersion) // the client puts the host in
		if err != nil {
			return nil, err
		}
		u := &goredis.UniversalOptions{
			Addrs: p.Address, MasterName: p.MasterName, IsClusterMode: p.Mode == "cluster" || p.Mode == "auto" && p.MasterName == "" && len(p.Address) > 1,
			Username: p.Username, Password: p.Password, SentinelUsername: p.SentinelUsername, SentinelPassword: p.SentinelPassword,
			DB: p.DB, MaxRetries: -1, DialerRetries: 1, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
			TLSConfig: t,
		}
		prefix := p.Prefix
		if prefix != "" && !strings.HasSuffix(prefix, ":") {
			prefix += ":"
		}
		b := &grafanaBus{client: goredis.NewUniversalClient(u), prefix: prefix, key: prefix + o.Self.Instance, h: h}
		b.sub = b.client.PSubscribe(ctx)
		if err := b.attach(ctx); err != nil {
			return nil, errors.Join(err, b.Close(ctx))
		}
		b.wg.Go(b.receive)
		return b, nil
	}
}

// attach asks for all that a node does. A SET of a key that must be there writes
// none.
func (b *grafanaBus) attach(ctx context.Context) error {
	pattern, channel := b.prefix+"*", b.prefix+ownChannel
	for _, step := range []struct {
		what string
		try  func() error
	}{
		{"PSUBSCRIBE " + pattern, func() error { return b.sub.PSubscribe(ctx, pattern) }},
		{"PSUBSCRIBE " + pattern, func() error { _, err := b.sub.Receive(ctx); return err }},
		{"PUBLISH " + channel, func() error { return b.client.Publish(ctx, channel, "").Err() }},
		{"SET " + b.key, func() error { return b.client.SetXX(ctx, b.key, "0", time.Second).Err() }},
		{"DEL " + b.key, func() error { return b.client.Del(ctx, b.key).Err() }},
		{"MGET " + b.key, func() error { return b.client.MGet(ctx, b.key).Err() }},
		{"SCAN " + pattern, func() error { return b.readMembers(ctx) }},
	} {
		switch err := step.try(); {
		case err == nil, errors.Is(err, goredis.Nil):
		case containsAny(err.Error(), "OOM ", "MISCONF "):
			b.full = fmt.Errorf("%s: %w", step.what, err)
		default:
			return b.explain(step.what, err)
		}
	}
	return nil
}

// heartbeat says whether the server takes one.
func (d *doctor) heartbeat(b *grafanaBus) {
	const name, tried = "heartbeat", "see whether the server takes a write, without making one"
	if b.full != nil {
		d.warn(name, tried, b.full.Error(), "nodes of ours go on among themselves, and Grafana's peers will miss them: give the server room, or let it save")
		return
	}
	d.ok(name, tried, "it does")
}

func (b *grafanaBus) explain(what string, err error) error {
	switch redisStep(err) {
	case "auth":
		return fmt.Errorf("%w: password: %s: %w; mind username too", backend.ErrConfig, what, err)
	case "acl":
		return fmt.Errorf("%w: username: %s: %w; allow it: ACL SETUSER … resetkeys ~%s* resetchannels &%[4]s* +psubscribe +publish +set +del +scan +mget",
			backend.ErrConfig, what, err, b.prefix)
	}
	if strings.HasPrefix(err.Error(), "READONLY ") {
		return fmt.Errorf("%w: address: %s: %w; give the master's address, or the Sentinels' and master_name", backend.ErrConfig, what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// readMembers tells whose heartbeats count.
func (b *grafanaBus) readMembers(ctx context.Context) error {
	cluster, ok := b.client.(*goredis.ClusterClient)
	if !ok {
		return b.readServer(ctx, b.client)
	}
	var mu sync.Mutex // one server after the other
	return cluster.ForEachMaster(ctx, func(ctx context.Context, server *goredis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		return b.readServer(ctx, server)
	})
}

func (b *grafanaBus) readServer(ctx context.Context, server goredis.Cmdable) error {
	keys := server.Scan(ctx, 0, b.prefix+"*", 1000).Iterator()
	for keys.Next(ctx) {
		values, err := server.MGet(ctx, keys.Val()).Result()
		if err != nil {
			return err
		}
		text, ok := values[0].(string)
		stamp, err := strconv.ParseInt(text, 10, 64)
		if age := time.Since(time.Unix(stamp, 0)); ok && err == nil && age < grafanaLife {
			b.h.Members([]driver.Member{{Name: nameOf(strings.TrimPrefix(keys.Val(), b.prefix))}})
		}
	}
	return keys.Err()
}

// nameOf cuts the instance off the key of a node of ours.
func nameOf(key string) string {
	if i := strings.LastIndexByte(key, '+'); i > 0 && len(key)-i-1 == instanceLen {
		return key[:i]
	}
	return key
}

// receive hands over what nodes of ours send. What begins with a zero is a beat.
func (b *grafanaBus) receive() {
	for {
		message, err := b.sub.Receive(context.Background()) // until Close
		if err != nil {
			return
		}
		m, ok := message.(*goredis.Message)
		if ok && m.Channel == b.prefix+ownChannel {
			b.h.Frame([]byte(strings.TrimPrefix(m.Payload, "\x00")))
		}
	}
}

// Broadcast implements [driver.Driver].
func (b *grafanaBus) Broadcast(ctx context.Context, frame []byte) error {
	return b.client.Publish(ctx, b.prefix+ownChannel, frame).Err()
}

// Caps implements [driver.Driver].
func (*grafanaBus) Caps() driver.Caps { return driver.Caps{} }

// Close implements [driver.Driver].
func (b *grafanaBus) Close(context.Context) error {
	err := errors.Join(b.sub.Close(), b.client.Close())
	b.wg.Wait()
	return err
}

var _ driver.Driver = (*grafanaBus)(nil)
