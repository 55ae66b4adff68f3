package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backends/redis"
)

// examineRedis goes from the address to a frame that is heard.
func (d *doctor) examineRedis(ctx context.Context, config backend.Config) {
	raw := maps.Clone(config.Params)
	if config.Backend == "rediss" {
		if raw == nil {
			raw = map[string]string{}
		}
		raw["tls"] = "true"
	}
	var p redis.Params
	if err := params.Decode(raw, &p); err != nil {
		d.fail("configuration", "decode the parameters", err, "correct the key that is named")
		return
	}
	port := "6379"
	if p.MasterName != "" {
		port = "26379"
	}
	endpoints := withPort(p.Address, port)
	if len(d.reach(ctx, d.resolve(ctx, endpoints))) == 0 {
		return
	}
	if p.TLS && !d.secure(ctx, endpoints, p.ServerTLS, nil) {
		return
	}
	master := endpoints[0]
	if p.MasterName != "" {
		if master = d.askSentinels(ctx, p, endpoints); master == "" {
			return
		}
	}
	d.attachRedis(ctx, config, raw, p, master)
}

// withPort puts the default port to addresses that have none.
func withPort(addresses []string, port string) []string {
	all := make([]string, len(addresses))
	for i, a := range addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			a = net.JoinHostPort(strings.Trim(a, "[]"), port)
		}
		all[i] = a
	}
	return all
}

// redisTLS returns what a client of that address is set to, nil without TLS.
func redisTLS(p redis.Params, addr string) *tls.Config {
	host, _, _ := net.SplitHostPort(addr) // it was dialled before
	t, err := p.ServerTLS(host)
	if err != nil {
		return nil // a handshake has succeeded with it
	}
	return t
}

// askSentinels asks each of them where the master is, and returns what the first
// one says.
func (d *doctor) askSentinels(ctx context.Context, p redis.Params, endpoints []string) (master string) {
	for _, addr := range endpoints {
		ctx, cancel := d.limit(ctx)
		client := goredis.NewSentinelClient(&goredis.Options{
			Addr: addr, Username: p.SentinelUsername, Password: p.SentinelPassword, MaxRetries: -1, DialerRetries: 1, Protocol: 2, DisableIdentity: true,
			TLSConfig: redisTLS(p, addr),
		})
		where, err := client.GetMasterAddrByName(ctx, p.MasterName).Result()
		_ = client.Close() // it has answered
		cancel()
		tried := fmt.Sprintf("ask the Sentinel %s for the master %q", addr, p.MasterName)
		switch {
		case errors.Is(err, goredis.Nil):
			d.fail("sentinel", tried, errors.New("it knows no such master"), "correct master_name: \"redis-cli -p 26379 sentinel masters\" lists them")
		case err != nil:
			d.fail("sentinel", tried, err, "mind that address names Sentinels, and sentinel_username and sentinel_password")
		case len(where) == 2:
			at := net.JoinHostPort(where[0], where[1])
			if master != "" && master != at {
				d.fail("sentinel", tried, fmt.Errorf("%s, but another says %s", at, master), "the Sentinels disagree: a failover is under way, or they are not of one group")
				continue
			}
			master = at
			d.ok("sentinel", tried, at)
		}
	}
	if master != "" && len(d.reach(ctx, d.resolve(ctx, []string{master}))) == 0 {
		return ""
	}
	return master
}

// attachRedis opens the driver, which subscribes and publishes, and says which of
// the steps on the way has failed.
func (d *doctor) attachRedis(ctx context.Context, config backend.Config, raw map[string]string, p redis.Params, master string) {
	config.Params = raw
	names := []string{"protocol", "auth", "acl", "pubsub"}
	tried := map[string]string{
		"protocol": "speak Redis's protocol", "auth": "log in" + asUser(p.Username), "acl": "ask for the rights to subscribe and to publish",
		"pubsub": "subscribe and publish through whatever stands between",
	}
	open := redis.Open
	if p.Wire == "grafana" {
		if _, given := raw["prefix"]; !given {
			p.Prefix = ""
		}
		open = openGrafanaBus(p)
		tried["acl"] = "ask for the rights to subscribe, to publish and to keep a heartbeat, as Grafana's peers do"
	}
	node, err := d.open(ctx, config, open)
	if p.Wire == "grafana" && redisStep(err) == "protocol" {
		err = d.openNative(ctx, config, err)
	}
	for _, name := range names {
		if name == redisStep(err) {
			d.fail(name, tried[name], err, mend(err, "see the log of the server at this minute"))
			return
		}
		d.ok(name, tried[name], "it is taken")
	}
	defer node.close()
	if bus, ok := node.Driver.(*grafanaBus); ok {
		d.heartbeat(bus)
	}
	client := goredis.NewClient(&goredis.Options{
		Addr: master, Username: p.Username, Password: p.Password, MaxRetries: -1, DialerRetries: 1, Protocol: 2, DisableIdentity: true,
		TLSConfig: redisTLS(p, master),
	})
	defer client.Close() //nolint:errcheck // it has answered
	d.outputBuffer(ctx, client)
	d.hear(ctx, node)
}

// openNative has the driver say what is wrong with a server that answers nothing
// of use. It returns err where the driver has nothing to say.
func (d *doctor) openNative(ctx context.Context, config backend.Config, err error) error {
	config.Params = maps.Clone(config.Params)
	config.Params["wire"] = "native"
	node, better := d.open(ctx, config, redis.Open)
	if better != nil {
		return better
	}
	node.close()
	return err
}

func asUser(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" as %q", name)
}

// redisStep returns which step the error of the driver is about; empty where
// there is none.
func redisStep(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	switch {
	case containsAny(text, "WRONGPASS", "NOAUTH", "invalid password", "invalid username-password", "without any password"):
		return "auth"
	case containsAny(text, "NOPERM"):
		return "acl"
	case containsAny(text, "pub/sub", "replica", "DB index"):
		return "pubsub"
	}
	return "protocol"
}

func containsAny(text string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// enoughBuffer is what lets a node on a slow link live through a large state.
const enoughBuffer = 8 << 20

// outputBuffer reads how much may wait for one subscriber.
func (d *doctor) outputBuffer(ctx context.Context, client *goredis.Client) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	const name, tried = "output buffer", "read client-output-buffer-limit"
	found, err := client.ConfigGet(ctx, "client-output-buffer-limit").Result()
	if err != nil {
		d.skip(name, tried, err.Error(), "that is no fault: look at the server that \"pubsub\" is 32mb 8mb 60 or more")
		return
	}
	limits, hard, soft, ok := pubsubLimit(found["client-output-buffer-limit"])
	switch {
	case !ok:
		d.skip(name, tried, fmt.Sprintf("%q", limits), "look at the server that \"pubsub\" is 32mb 8mb 60 or more")
	case hard > 0 && hard < enoughBuffer, soft > 0 && soft < enoughBuffer:
		d.warn(name, tried, "pubsub "+limits, "the server ends the subscription of a node that is that far behind: CONFIG SET client-output-buffer-limit \"pubsub 32mb 8mb 60\"")
	default:
		d.ok(name, tried, "pubsub "+limits)
	}
}

// pubsubLimit finds the limits of subscribers in what the server says of all
// classes.
func pubsubLimit(text string) (limits string, hard, soft int64, ok bool) {
	words := strings.Fields(text)
	for i, w := range words {
		if w == "pubsub" && i+3 < len(words) {
			hard, err := strconv.ParseInt(words[i+1], 10, 64)
			soft, err2 := strconv.ParseInt(words[i+2], 10, 64)
			return strings.Join(words[i+1:i+4], " "), hard, soft, err == nil && err2 == nil
		}
	}
	return text, 0, 0, false
}
