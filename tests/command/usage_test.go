package command_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBadInvocations(t *testing.T) {
	t.Parallel()
	sound := "--config.file=" + file(t, "sound.yml", config("nobody"))
	absent := filepath.Join(t.TempDir(), "absent")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	bare := func(args ...string) []string {
		return append([]string{"alertmanager", "--storage.path=", "--web.listen-address=127.0.0.1:0", "--web.external-url=http://127.0.0.1"}, args...)
	}
	am := func(args ...string) []string {
		return bare(append([]string{"--cluster.listen-address=127.0.0.1:0"}, args...)...)
	}
	for name, c := range map[string]struct {
		args []string
		want []string // each is in the message
	}{
		"no command":            {nil, []string{"alertmanager", "demo"}},
		"unknown command":       {[]string{"alertmanger"}, []string{"alertmanger"}},
		"unknown flag":          {am(sound, "--cluster.pear=x"), []string{"--cluster.pear"}},
		"unknown backend":       {bare(sound, "--cluster.backend=carrier-pigeon"), []string{"carrier-pigeon", "memberlist"}},
		"flag beside a file":    {bare(sound, "--cluster.config="+file(t, "c.yml", "backend: memory\ncluster: c\n"), "--cluster.backend=nats"), []string{"--cluster.backend", "--cluster.config"}},
		"flag beside an ini":    {bare(sound, "--config.ini="+file(t, "c.ini", "[unified_alerting]\n"), "--cluster.label=c"), []string{"--cluster.label", "--config.ini"}},
		"evaluation twice":      {bare(sound, "--config.ini="+file(t, "c.ini", "[unified_alerting]\n"), "--no-rules.execute"), []string{"--rules.execute", "--config.ini", "execute_alerts"}},
		"retention twice":       {bare(sound, "--config.ini="+file(t, "c.ini", "[unified_alerting]\n"), "--data.retention=9d"), []string{"--data.retention", "--config.ini", "notification_log_retention"}},
		"two limits":            {bare(sound, "--config.ini="+file(t, "c.ini", "[unified_alerting]\nalertmanager_max_silences_count = 4\n"), "--silences.max-silences=5"), []string{"--silences.max-silences is 5", "alertmanager_max_silences_count", "is 4"}},
		"flag beside a source":  {[]string{"doctor", "redis://localhost:1?cluster=c", "--cluster.config=" + absent}, []string{"--cluster.config", "a source"}},
		"flag of gossip":        {bare(sound, "--cluster.backend=redis", "--cluster.name=c", "--cluster.peer=x:1"), []string{"--cluster.peer", "memberlist", "redis"}},
		"no name on redis":      {bare(sound, "--cluster.backend=redis"), []string{"redis", "--cluster.name", "name is required"}},
		"short interval":        {am(sound, "--cluster.probe-timeout=1ns"), []string{"--cluster.probe-timeout", "too short"}},
		"flag of no time":       {am(sound, "--cluster.gossip-interval=fast"), []string{"--cluster.gossip-interval", "fast"}},
		"no name on nats":       {bare(sound, "--cluster.backend=nats"), []string{"nats", "cluster", "name is required"}},
		"no name on etcd":       {bare(sound, "--cluster.backend=etcd"), []string{"etcd", "cluster", "name is required"}},
		"unknown parameter":     {am(sound, "--cluster.param=colour=red"), []string{"colour", "listen_address"}},
		"parameter's value":     {am(sound, "--cluster.param=gossip_interval=fast"), []string{"--cluster.param gossip_interval", "fast"}},
		"bad duration":          {am(sound, "--cluster.peer-timeout=fast"), []string{"--cluster.peer-timeout", "fast"}},
		"negative duration":     {am(sound, "--cluster.peer-timeout=-1s"), []string{"--cluster.peer-timeout", "-1s"}},
		"bad gossip address":    {am(sound, "--cluster.listen-address=nowhere"), []string{"--cluster.listen-address", "nowhere"}},
		"bad peer":              {am(sound, "--cluster.peer=nowhere"), []string{"--cluster.peer: ", "nowhere"}},
		"bad log level":         {am(sound, "--log.level=loud"), []string{"--log.level", "loud"}},
		"bad web address":       {[]string{"alertmanager", sound, "--web.listen-address=nowhere"}, []string{"--web.listen-address", "nowhere"}},
		"bad external URL":      {am(sound, "--web.external-url=ftp://x"), []string{"external url", "ftp"}},
		"no config file":        {am("--config.file=" + absent), []string{"config file", absent}},
		"broken config file":    {am("--config.file=" + file(t, "broken.yml", "route:\n  receiver: [")), []string{"broken.yml", "line 2"}},
		"no cluster config":     {bare(sound, "--cluster.config="+absent), []string{absent}},
		"broken cluster config": {bare(sound, "--cluster.config="+file(t, "cluster.yml", "backnd: memberlist\n")), []string{"cluster.yml", "backnd"}},
		"no TLS settings":       {am(sound, "--cluster.tls-config="+absent), []string{"--cluster.tls-config", absent}},
		"busy gossip port":      {am(sound, "--cluster.listen-address="+busy.Addr().String()), []string{"--cluster.listen-address", busy.Addr().String(), "in use"}},
		"busy web port":         {am(sound, "--web.listen-address="+busy.Addr().String()), []string{"--web.listen-address", busy.Addr().String(), "in use"}},
		"no alerts file":        {[]string{"demo", "--alerts=" + absent}, []string{"--alerts", absent}},
		"alerts not JSON":       {[]string{"demo", "--alerts=" + file(t, "a.json", `[{"labels":`)}, []string{"--alerts", "a.json", "byte 11"}},
		"alerts not an array":   {[]string{"demo", "--alerts=" + file(t, "b.json", `{"labels":{"alertname":"x"}}`)}, []string{"--alerts", "b.json", "array"}},
		"alerts empty":          {[]string{"demo", "--alerts=" + file(t, "c.json", ``)}, []string{"--alerts", "c.json"}},
		"no alerts":             {[]string{"demo", "--alerts=" + file(t, "d.json", `[]`)}, []string{"--alerts", "d.json", "no alert"}},
		"alert null":            {[]string{"demo", "--alerts=" + file(t, "e.json", `[null]`)}, []string{"--alerts", "e.json", "alertname"}},
		"alert twice":           {[]string{"demo", "--alerts=" + file(t, "f.json", `[{"labels":{"alertname":"x"}},{"labels":{"alertname":"x"}}]`)}, []string{"--alerts", "f.json", "alert 1"}},
		"one node":              {[]string{"demo", "--nodes=1"}, []string{"--nodes", "2"}},
		"nodes not a number":    {[]string{"demo", "--nodes=three"}, []string{"--nodes", "three"}},
		"demo unknown param":    {[]string{"demo", "--param=colour=red"}, []string{"colour", "listen_address"}},
		"demo in one process":   {[]string{"demo", "--backend=memory"}, []string{"--backend", "memory", "process"}},
		"demo without server":   {[]string{"demo", "--backend=redis", "--param=address=127.0.0.1:1"}, []string{"redis", "127.0.0.1:1", "refused"}},
		"demo param of server":  {[]string{"demo", "--backend=nats", "--param=colour=red"}, []string{"nats", "colour", "servers"}},
		"demo unknown backend":  {[]string{"demo", "--backend=carrier-pigeon"}, []string{"--backend", "carrier-pigeon"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := run(t, c.args...)
			if code := p.exitCode(t, 15*time.Second); code <= 0 {
				t.Errorf("exit code %d", code)
			}
			if out := p.stdout.String() + p.stderr.String(); strings.Contains(out, "panic:") || strings.Contains(out, "goroutine ") {
				t.Error("it shows a stack trace")
			}
			// What the user reads last; logs or the usage may stand above it.
			message := p.stderr.String()
			if i := strings.LastIndex(message, "clusterchannel: "); i >= 0 {
				message = message[i:]
			} else {
				t.Error("it shows no message of its own")
			}
			for _, word := range c.want {
				if !strings.Contains(message, word) {
					t.Errorf("the message does not name %q", word)
				}
			}
		})
	}
}
