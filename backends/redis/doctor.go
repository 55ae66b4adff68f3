package redis

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

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
	if p.Mode == "cluster" && !askMasters(ctx, e, p) {
		return
	}
	attach(ctx, e, p)
}

// askMasters asks each server of a Cluster how it stands in it. It reports whether
// any can be used.
func askMasters(ctx context.Context, e driver.Examination, p Params) (usable bool) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	const name = "cluster"
	config := p.server(nil)
	for _, s := range server.AskMasters(ctx, config, e.Logger) {
		tried := "ask " + s.Addr + " how it stands in the Cluster"
		switch {
		case s.Err != nil:
			err := config.Explain("CLUSTER INFO", s.Err)
			e.Fail(name, tried, err, doctor.Advice(err, "see whether it is up, and the log of the server"))
			continue
		case s.Denied:
			e.Warn(name, tried, "this user must not ask", "a server that was taken out of the Cluster is not noticed: ACL SETUSER … +cluster|info +cluster|nodes")
		case s.Alive == 0:
			e.Fail(name, tried, errors.New("it is in no Cluster, or in one whose slots nobody owns"), "see CLUSTER NODES at it, and take it off the list")
			continue
		case !s.Among():
			e.Warn(name, tried, fmt.Sprintf("it knows %d of %d masters to be alive", s.Alive, s.Masters), "bring the others back, or see whether it can reach their bus")
		default:
			e.OK(name, tried, "it is with most masters")
		}
		reportSlots(e, s)
		usable = true
	}
	if len(p.Address) == 1 {
		e.Warn(name, "count the servers in address", "one", "list others of the Cluster: a node is cut off while the only one that it knows is lost")
	}
	return usable
}

// reportSlots says which slots cannot be used, and which are on the move. What is
// published has none; keys have, which Grafana's wire puts.
func reportSlots(e driver.Examination, s server.Placed) {
	name, tried, t := "slots", "read at "+s.Addr+" who owns the slots", s.Knows
	switch {
	case t.Masters == 0: // it must not be asked
	case t.Orphans > 0 && len(t.Lost) > 0:
		e.Warn(name, tried, fmt.Sprintf("%d are of masters that are lost: %s", t.Orphans, strings.Join(t.Lost, ", ")),
			"bring the master back, or have a replica take over: CLUSTER FAILOVER TAKEOVER; frames pass meanwhile, and on Grafana's wire no key of these slots is kept")
	case t.Orphans > 0:
		e.Warn(name, tried, fmt.Sprintf("%d are nobody's", t.Orphans), "give them to a master: redis-cli --cluster fix; frames pass meanwhile, and on Grafana's wire no key of these slots is kept")
	case t.Moving > 0:
		e.Warn(name, tried, fmt.Sprintf("%d are on the move", t.Moving), "unless resharding is under way it was broken off: redis-cli --cluster fix")
	default:
		e.OK(name, tried, fmt.Sprintf("all are of %d masters, and alive", t.Masters))
	}
}

// listen opens what carries frames as a node does, and is no member.
func (p Params) listen(ctx context.Context, e driver.Examination) (*doctor.Listener, error) {
	if p.Wire == "grafana" {
		return doctor.Listen(ctx, e, grafana.OpenWitness(p.server(nil)))
	}
	return doctor.Listen(ctx, e, Open)
}

// compareServers finds out whether what is published at each other server of a
// Cluster is heard where the node is.
func compareServers(ctx context.Context, e driver.Examination, p Params, at *doctor.Listener) {
	for _, addr := range p.Address {
		alone, there := e, p
		alone.Params = maps.Clone(e.Params)
		alone.Params["address"], alone.Params["mode"] = addr, "cluster"
		there.Address = []string{addr}
		other, err := there.listen(ctx, alone)
		if err != nil {
			continue // it is told where each server was asked
		}
		at.HearFrom(ctx, other, "publish at "+addr+" and hear it where this node would be",
			"see that the servers are of one Cluster, and reach each other's bus, which is the port plus 10000: CLUSTER NODES at each")
		other.Close()
	}
}

// askSentinels asks each of them where the master is, and whether that can be
// reached.
func askSentinels(ctx context.Context, e driver.Examination, p Params) bool {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	answers := server.AskSentinels(ctx, p.server(nil), e.Logger)
	for _, a := range answers {
		tried := fmt.Sprintf("ask the Sentinel %s for the master %q", a.Sentinel, p.MasterName)
		switch {
		case errors.Is(a.Err, goredis.Nil):
			e.Fail("sentinel", tried, errors.New("it knows no such master"), "correct master_name: \"redis-cli -p 26379 sentinel masters\" lists them")
		case a.Err != nil:
			e.Fail("sentinel", tried, a.Err, "check that address names Sentinels, and sentinel_username and sentinel_password")
		default:
			e.OK("sentinel", tried, a.Master)
		}
	}
	best, doubt := server.Follow(answers)
	if doubt != nil {
		e.Fail("sentinel", "compare what the Sentinels say", doubt, "the Sentinels disagree: a failover is under way, or they are not of one group: see \"sentinel masters\" and \"sentinel sentinels\" at each, and SENTINEL RESET one that is left behind")
	}
	return best.Master != "" && len(doctor.Reach(ctx, e, doctor.Resolve(ctx, e, []string{best.Master}))) > 0
}

// attach opens the driver, which subscribes and publishes, and reports the
// stage that failed.
func attach(ctx context.Context, e driver.Examination, p Params) {
	config, rights := p.server(nil), "ask for the rights to subscribe and to publish"
	if p.Wire == "grafana" {
		rights = "ask for the rights to subscribe, to publish and to keep a heartbeat, as Grafana's peers do"
	}
	l, err := p.listen(ctx, e)
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
	if p.Mode == "cluster" {
		compareServers(ctx, e, p, l)
	}
	outputBuffer(ctx, e, config)
	doctor.Clock(ctx, e, "the server", 0, func(ctx context.Context) (now time.Time, err error) {
		client := server.New(config, e.Logger)
		defer client.Close()
		err = client.Open(ctx, func(ctx context.Context) (err error) {
			now, err = client.Redis.Time(ctx).Result()
			return err
		})
		return now, err
	})
	l.Hear(ctx)
}

// enoughBuffer is what lets a node on a slow link live through a large state.
const enoughBuffer = 8 << 20

// outputBuffer reads how much may wait for one subscriber.
func outputBuffer(ctx context.Context, e driver.Examination, config *server.Config) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	const name, tried = "output buffer", "read client-output-buffer-limit"
	client := server.New(config, e.Logger)
	defer client.Close()
	var found map[string]string
	err := client.Open(ctx, func(ctx context.Context) (err error) {
		found, err = client.Redis.ConfigGet(ctx, "client-output-buffer-limit").Result()
		return err
	})
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
