package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backends/redis/internal/grafana"
	"github.com/clusterchannel/clusterchannel/backends/redis/internal/server"
)

// examine is the backend's driver.ExamineFunc.
func examine(ctx context.Context, e driver.Examination) {
	p, err := parse(e.Params)
	if err != nil {
		e.Fail("configuration", "decode the parameters", err, doctor.Advice(err, ""))
		return
	}
	if len(doctor.Reach(ctx, e, doctor.Resolve(ctx, e, p.Address))) == 0 {
		return
	}
	if p.TLS && !doctor.Secure(ctx, e, p.Address, p.serverTLS, nil) {
		return
	}
	if p.Mode == "sentinel" && !askSentinels(ctx, e, p) {
		return
	}
	attach(ctx, e, p)
}

// askSentinels asks each of them where the master is, and whether it can be
// reached.
func askSentinels(ctx context.Context, e driver.Examination, p Params) bool {
	master := ""
	for _, addr := range p.Address {
		where, err := askSentinel(ctx, e, p, addr)
		tried := fmt.Sprintf("ask the Sentinel %s for the master %q", addr, p.MasterName)
		switch {
		case errors.Is(err, goredis.Nil):
			e.Fail("sentinel", tried, errors.New("it knows no such master"), "correct master_name: \"redis-cli -p 26379 sentinel masters\" lists them")
		case err != nil:
			e.Fail("sentinel", tried, err, "check that address names Sentinels, and sentinel_username and sentinel_password")
		case master != "" && master != where:
			e.Fail("sentinel", tried, fmt.Errorf("%s, but another says %s", where, master), "the Sentinels disagree: a failover is under way, or they are not of one group")
		default:
			master = where
			e.OK("sentinel", tried, where)
		}
	}
	return master != "" && len(doctor.Reach(ctx, e, doctor.Resolve(ctx, e, []string{master}))) > 0
}

func askSentinel(ctx context.Context, e driver.Examination, p Params, addr string) (master string, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	client := goredis.NewSentinelClient(&goredis.Options{
		Addr: addr, Dialer: p.server(nil).Dialer(ctx), Username: p.SentinelUsername, Password: p.SentinelPassword,
		MaxRetries: -1, DialerRetries: 1, Protocol: 2, DisableIdentity: true, ContextTimeoutEnabled: true,
	})
	defer client.Close() //nolint:errcheck // it has answered
	where, err := client.GetMasterAddrByName(ctx, p.MasterName).Result()
	if err == nil && len(where) != 2 {
		err = fmt.Errorf("%q is no address", where)
	}
	if err != nil {
		return "", err
	}
	return net.JoinHostPort(where[0], where[1]), nil
}

// attach opens the driver, which subscribes and publishes, and reports the
// stage that failed.
func attach(ctx context.Context, e driver.Examination, p Params) {
	config := p.server(nil)
	open, rights := Open, "ask for the rights to subscribe and to publish"
	if p.Wire == "grafana" {
		open, rights = grafana.OpenWitness(config), "ask for the rights to subscribe, to publish and to keep a heartbeat, as Grafana's peers do"
	}
	l, err := doctor.Listen(ctx, e, open)
	failed := ""
	if err != nil {
		failed = config.Stage(err)
	}
	if !doctor.Stages(e, []doctor.Stage{
		{Name: server.StageProtocol, Tried: "speak Redis's protocol"},
		{Name: server.StageAuth, Tried: doctor.LogIn(p.Username)},
		{Name: server.StageACL, Tried: rights},
		{Name: server.StagePubSub, Tried: "subscribe and publish through whatever stands between"},
	}, failed, err) {
		return
	}
	defer l.Close()
	if w, ok := l.Driver.(*grafana.Witness); ok {
		w.ReportHeartbeat(e)
	}
	outputBuffer(ctx, e, config)
	l.Hear(ctx)
}

// enoughBuffer is what lets a node on a slow link live through a large state.
const enoughBuffer = 8 << 20

// outputBuffer reads how much may wait for one subscriber.
func outputBuffer(ctx context.Context, e driver.Examination, config *server.Config) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	client := config.Connect(ctx)
	defer client.Close() //nolint:errcheck // it has answered
	const name, tried = "output buffer", "read client-output-buffer-limit"
	found, err := client.ConfigGet(ctx, "client-output-buffer-limit").Result()
	if err != nil {
		e.Skip(name, tried, err.Error(), "this is no fault: look at the server that \"pubsub\" is 32mb 8mb 60 or more")
		return
	}
	limits, hard, soft, ok := pubsubLimit(found["client-output-buffer-limit"])
	switch {
	case !ok:
		e.Skip(name, tried, fmt.Sprintf("%q", limits), "look at the server that \"pubsub\" is 32mb 8mb 60 or more")
	case hard > 0 && hard < enoughBuffer, soft > 0 && soft < enoughBuffer:
		e.Warn(name, tried, "pubsub "+limits, "the server ends the subscription of a node that is that far behind: CONFIG SET client-output-buffer-limit \"pubsub 32mb 8mb 60\"")
	default:
		e.OK(name, tried, "pubsub "+limits)
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
