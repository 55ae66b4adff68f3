package command_test

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
	"github.com/clusterchannel/clusterchannel/conformance/servers/container"
)

const terminate = syscall.SIGTERM

// unit is the command line of the systemd unit, without its program and with
// the containers' directory for the state.
func unit(t *testing.T) []string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^ExecStart=\S+/clusterchannel (.*)$`).FindStringSubmatch(deployed(t, "setups/clusterchannel.service"))
	if found == nil {
		t.Fatal("the unit starts nothing")
	}
	return strings.Fields(strings.Replace(found[1], "/var/lib/clusterchannel", dataDir, 1))
}

// environment reads a file of systemd's EnvironmentFile.
func environment(t *testing.T, name string) map[string]string {
	t.Helper()
	env := map[string]string{}
	for line := range strings.Lines(deployed(t, name)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok {
			t.Fatalf("%s: %q sets nothing", name, line)
		}
		env[key] = value
	}
	return env
}

// The addresses of hosts that the files show are those of the network: only its
// first three parts are put in.
func TestSetUpOfMemberlist(t *testing.T) {
	p := newPlace(t)
	ours := p.address(0).String()
	moved := strings.NewReplacer("10.0.0.", ours[:strings.LastIndexByte(ours, '.')+1])
	text := deployed(t, "setups/memberlist/custom.ini")
	var nodes []*host
	for _, found := range regexp.MustCompile(`10\.0\.0\.(\d+):9094`).FindAllString(text, -1) {
		addr := netip.MustParseAddrPort(found).Addr()
		env := environment(t, "setups/memberlist/host.env")
		if _, ok := env["HOST_IP"]; !ok || len(env) != 1 {
			t.Fatalf("the environment of a host is %v", env)
		}
		env["HOST_IP"] = moved.Replace(addr.String())
		nodes = append(nodes, p.start(t, node{
			name: fmt.Sprintf("host-%d", addr.As4()[3]), addr: netip.MustParseAddr(env["HOST_IP"]),
			args: unit(t), env: env, files: map[string]string{configDir + "/custom.ini": moved.Replace(text)},
		}))
	}
	p.deliversOnce(t, nodes...)
}

func TestSetUpOfRedis(t *testing.T) {
	p := newPlace(t)
	container.Start(t, container.Spec{
		Image: needsImage(t, servers.Redis().Image), Cmd: []string{"redis-server", "/etc/redis/redis.conf"},
		Files: map[string][]byte{
			"/etc/redis/redis.conf": []byte(deployed(t, "setups/redis/redis.conf")),
			"/etc/redis/users.acl":  []byte(deployed(t, "setups/redis/users.acl")),
		},
		Networks: map[*container.Network][]string{p.mesh: {"redis"}},
	})
	var nodes []*host
	for i := range 3 {
		nodes = append(nodes, p.start(t, node{
			name: fmt.Sprintf("host-%d", i), args: unit(t), env: environment(t, "setups/redis/host.env"),
			files: map[string]string{configDir + "/custom.ini": deployed(t, "setups/redis/custom.ini")},
		}))
	}
	p.deliversOnce(t, nodes...)
}

// The ini file is Grafana's own, and so are the names of the service.
func TestSetUpOfKubernetes(t *testing.T) {
	p := newPlace(t)
	var nodes []*host
	for i := range 3 {
		addr := p.fresh()
		nodes = append(nodes, p.start(t, node{
			name: fmt.Sprintf("grafana-%d", i), addr: addr, aliases: []string{"grafana-alerting.grafana"},
			args: argsOf(t, "setups/kubernetes/deployment.yaml"),
			env:  map[string]string{"POD_IP": addr.String()}, files: map[string]string{configDir + "/grafana.ini": deployed(t, "setups/kubernetes/grafana.ini")},
		}))
	}
	p.deliversOnce(t, nodes...)
}
