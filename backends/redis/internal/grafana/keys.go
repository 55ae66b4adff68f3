package grafana

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

const (
	scanPage  = 1000
	lookDelay = 200 * time.Millisecond // from a hint that keys will change until they have
)

// ownSeparator stands between name and instance in an own node's key. It sorts
// below every character of a name, so that keys sort by name, then instance.
const ownSeparator = "+"

func ownKey(m driver.Member) string { return m.Name + ownSeparator + m.Instance }

// isOwnKey reports whether a key, without the prefix, is that of an own node:
// of this cluster, or of one whose prefix begins with this one's.
func isOwnKey(key string) bool {
	const instance, alphabet = 13, "abcdefghijklmnopqrstuvwxyz234567"
	i := strings.LastIndex(key, ownSeparator)
	return i > 0 && len(key)-i-1 == instance && strings.Trim(key[i+1:], alphabet) == ""
}

// setKey writes this node's heartbeat. It reports whether there was one before.
func (g *conn) setKey(ctx context.Context) (was bool, err error) {
	set := func(mode string) error {
		return g.do(ctx, func(ctx context.Context) error {
			stamp := strconv.FormatInt(time.Now().Unix(), 10)
			return g.client.Keys.SetArgs(ctx, g.prefix()+g.key, stamp, goredis.SetArgs{Mode: mode, TTL: g.timing.TTL}).Err()
		})
	}
	if err := set("XX"); !errors.Is(err, goredis.Nil) {
		return true, err
	}
	return false, set("")
}

// keepKey writes this node's heartbeat, and looks for those of others:
// periodically, and shortly after a hint.
func (g *conn) keepKey(ctx context.Context) error {
	turn := time.NewTicker(g.timing.Heartbeat)
	defer turn.Stop()
	hint := time.NewTimer(0)
	hint.Stop()
	defer hint.Stop()
	for {
		select {
		case <-turn.C:
			if err := g.lookAtKeys(ctx); err != nil {
				return err
			}
		case <-g.roster.orphans:
			g.deleteOrphans(ctx)
		case <-g.look:
			hint.Reset(lookDelay)
		case <-hint.C:
			if err := g.lookAtKeys(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// writeKey returns an error only when another server is needed.
func (g *conn) writeKey(ctx context.Context) error {
	was, err := g.setKey(ctx)
	if !was {
		g.roster.emptied()
	}
	switch {
	case err == nil || ctx.Err() != nil:
		return nil
	case strings.HasPrefix(err.Error(), "READONLY "):
		return fmt.Errorf("redis: %w: %w", driver.ErrUnavailable, err)
	}
	g.logger.Warn("the heartbeat could not be written; Grafana's peers will miss this node", "err", err)
	g.handler.Probe(g.self.Name, 0, err)
	return nil
}

// deleteOrphans deletes the keys of own nodes that have failed, so that
// Grafana's peers see the same. A node that lives nevertheless writes its key
// again.
func (g *conn) deleteOrphans(ctx context.Context) {
	for _, key := range g.roster.takeOrphans() {
		err := g.do(ctx, func(ctx context.Context) error { return g.client.Keys.Del(ctx, g.prefix()+key).Err() })
		if err != nil {
			g.logger.Debug("the key of a failed node stays until it expires", "key", g.prefix()+key, "err", err)
		}
	}
}

// lookAtKeys writes first: if the own key was missing, other missing keys do
// not mean that their nodes have left.
func (g *conn) lookAtKeys(ctx context.Context) error {
	if err := g.writeKey(ctx); err != nil {
		return err
	}
	keys, err := g.scan(ctx)
	if err != nil {
		if ctx.Err() == nil {
			g.logger.Warn("the keys could not be read; the list of Grafana's peers stays as it was", "err", err)
		}
		return nil
	}
	if !slices.ContainsFunc(keys, func(k stamped) bool { return k.key == g.key }) {
		if err := g.writeKey(ctx); err != nil { // it has just gone
			return err
		}
	}
	g.roster.scanned(keys, time.Now())
	return nil
}

// scan returns the keys that hold a heartbeat.
func (g *conn) scan(ctx context.Context) ([]stamped, error) {
	cluster, ok := g.client.Keys.(*goredis.ClusterClient)
	if !ok {
		return g.scanServer(ctx, g.client.Keys)
	}
	var mu sync.Mutex
	var all []stamped
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *goredis.Client) error {
		keys, err := g.scanServer(ctx, c)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, keys...)
		return err
	})
	return all, err
}

func (g *conn) scanServer(ctx context.Context, server goredis.Cmdable) ([]stamped, error) {
	var all []stamped
	var cursor uint64
	for {
		err := g.do(ctx, func(ctx context.Context) error {
			page, next, err := server.Scan(ctx, cursor, g.prefix()+"*", scanPage).Result()
			if err != nil || len(page) == 0 {
				cursor = next
				return err
			}
			found, err := g.readStamps(ctx, server, page)
			all, cursor = append(all, found...), next
			return err
		})
		if err != nil {
			return nil, err
		}
		if cursor == 0 {
			return all, nil
		}
	}
}

// readStamps reads each key by its own MGET: in a Cluster the keys of one MGET
// would have to share a slot. MGET returns nil for what is no string.
func (g *conn) readStamps(ctx context.Context, server goredis.Cmdable, keys []string) ([]stamped, error) {
	values, err := server.Pipelined(ctx, func(p goredis.Pipeliner) error {
		for _, key := range keys {
			p.MGet(ctx, key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var found []stamped
	now := time.Now().Unix()
	for i, v := range values {
		text, ok := v.(*goredis.SliceCmd).Val()[0].(string)
		if !ok {
			continue
		}
		stamp, err := strconv.ParseInt(text, 10, 64)
		key, ours := strings.CutPrefix(keys[i], g.prefix())
		if age := time.Duration(now-stamp) * time.Second; err == nil && ours && key != "" && age < maxSkew && age > -maxSkew {
			found = append(found, stamped{key, stamp})
		}
	}
	return found, nil
}
