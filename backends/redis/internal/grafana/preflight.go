package grafana

import (
	"context"
	"errors"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backends/redis/internal/server"
)

// preflight checks that everything needed is there and allowed.
func (g *conn) preflight(ctx context.Context) error {
	pattern := g.prefix() + "*"
	if err := g.client.Sub.PSubscribe(ctx, pattern); err != nil {
		return g.explain("PSUBSCRIBE "+pattern, g.client.Diagnose(ctx, err, g.prefix()+ownChannel))
	}
	if _, err := g.client.Sub.ReceiveTimeout(ctx, server.Timeout); err != nil { // its answer comes first
		return g.explain("PSUBSCRIBE "+pattern, g.client.Diagnose(ctx, err, g.prefix()+ownChannel))
	}
	if err := g.client.CheckRole(ctx); err != nil {
		return err
	}
	var err error
	if g.returning, err = g.setKey(ctx); err != nil && !refusesWrites(err) && !g.ownerIsAway(err) {
		return g.explain("SET "+g.prefix()+g.key, err)
	}
	hello := g.beat()
	hello.Hello = true
	if err := g.publishOn(ctx, ownChannel, hello.encode()); err != nil {
		return g.explain("PUBLISH "+g.prefix()+ownChannel, err)
	}
	keys, err := g.scan(ctx)
	switch {
	case err == nil:
		g.roster.scanned(keys, time.Now())
	case !g.ownerIsAway(err):
		return g.explain("SCAN "+pattern, err)
	}
	return nil
}

// ownerIsAway reports whether keys of a Cluster wait for a failover: one of its
// masters does not answer. Frames go on without it.
func (g *conn) ownerIsAway(err error) bool {
	_, cluster := g.client.Keys.(*goredis.ClusterClient)
	return cluster && !errors.Is(g.explain("", err), driver.ErrConfig)
}

// refusesWrites reports whether the server refuses writes now, because it has
// no memory left or cannot save. It still forwards what is published.
func refusesWrites(err error) bool {
	return strings.HasPrefix(err.Error(), "OOM ") || strings.HasPrefix(err.Error(), "MISCONF ")
}

func (g *conn) explain(what string, err error) error {
	if strings.Contains(err.Error(), "NOPERM") {
		return params.Bad("username", "%s: %w; allow it: ACL SETUSER … resetkeys ~%s* resetchannels &%[3]s* +psubscribe +publish +set +del +scan +mget", what, err, g.prefix())
	}
	return g.client.Config.Explain(what, err)
}
