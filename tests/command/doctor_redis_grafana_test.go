package command_test

import (
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

// TestDoctorGrafanasWire examines clusters of Grafana's peers and own nodes,
// and becomes a member of none.
func TestDoctorGrafanasWire(t *testing.T) {
	t.Parallel()
	server := servers.Start(t, servers.Redis(), servers.Options{})
	admin := goredis.NewClient(&goredis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = admin.Close() })
	user := func(name string, rules ...any) []string {
		t.Helper()
		if err := admin.Do(t.Context(), append([]any{"acl", "setuser", name, "on", ">" + secret, "resetkeys", "resetchannels"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
		return []string{"redis://" + name + ":" + secret + "@" + server.Addr() + "?cluster=c&wire=grafana&prefix=blue"}
	}
	least := user("least", "~blue:*", "&blue:*", "+psubscribe", "+publish", "+set", "+del", "+scan", "+mget")
	seat(t, backend.Config{
		Backend: "redis", Cluster: "c", Name: "resident", Params: map[string]string{"address": server.Addr(), "wire": "grafana", "prefix": "blue"},
	})
	d := doctor(t, least...)
	if d.code != 0 {
		t.Errorf("exit code %d:\n%s", d.code, d)
	}
	for _, name := range []string{"tcp", "protocol", "auth", "acl", "pubsub", "heartbeat", "delivery"} {
		d.has(t, name, "ok")
	}
	d.has(t, "members", "ok", "1: resident")
	keys, err := admin.Keys(t.Context(), "*doctor*").Result()
	if err != nil || len(keys) > 0 {
		t.Errorf("%q are left, %v", keys, err)
	}

	now := time.Now().Unix()
	for key, stamp := range map[string]int64{"grafana-1": now, "gone": now - 300} {
		if err := admin.Set(t.Context(), "green:"+key, stamp, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	doctor(t, "redis://"+server.Addr()+"?cluster=c&wire=grafana&prefix=green").has(t, "members", "ok", "1: grafana-1")

	for _, s := range []sick{
		{"no heartbeat may be written", user("mute", "~blue:*", "&blue:*", "+psubscribe", "+publish", "+del", "+scan", "+mget"), "acl", []string{"SET", "NOPERM", "+set"}},
		{"other keys", user("away", "~other:*", "&blue:*", "+psubscribe", "+publish", "+set", "+del", "+scan", "+mget"), "acl", []string{"NOPERM", "~blue:*"}},
		{"other channels", user("deaf", "~blue:*", "&other:*", "+psubscribe", "+publish", "+set", "+del", "+scan", "+mget"), "acl", []string{"PSUBSCRIBE", "&blue:*"}},
		{"wrong password", []string{strings.Replace(least[0], secret, secret+"x", 1)}, "auth", []string{"WRONGPASS", "password"}},
		{"something else", []string{"redis://" + silent(t) + "?cluster=c&wire=grafana"}, "protocol", nil},
	} {
		s.test(t)
	}
	if err := admin.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	d = doctor(t, "redis://"+server.Addr()+"?cluster=c&wire=grafana&prefix=green")
	d.has(t, "heartbeat", "warn", "OOM", "Grafana's peers")
	d.has(t, "delivery", "ok")
}
