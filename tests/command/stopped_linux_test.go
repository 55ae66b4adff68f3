package command_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

// TestStoppedProcess stops a node for so long that the other drops it, as
// happens on a host that is moved or overloaded. Its silence meanwhile must not
// count against its link.
func TestStoppedProcess(t *testing.T) {
	t.Parallel()
	for how, args := range map[string]func() []string{
		"nats": func() []string {
			return []string{"--cluster.backend=nats", "--cluster.param=servers=" + servers.Start(t, servers.NATS(), servers.Options{}).Addr()}
		},
		"redis on Grafana's wire": func() []string {
			return []string{"--cluster.backend=redis", "--cluster.param=wire=grafana", "--cluster.param=address=" + servers.Start(t, servers.Redis(), servers.Options{}).Addr()}
		},
	} {
		t.Run(how, func(t *testing.T) { stopped(t, args()) })
	}
}

func stopped(t *testing.T, args []string) {
	args = append(args, "--config.file="+file(t, "am.yml", config("nobody")), "--storage.path=", "--cluster.name=c")
	start := func(name string) (*process, string) {
		return instance(t, append(slices.Clone(args), "--cluster.peer-name="+name)...)
	}
	sees := func(p *process, url, members string) {
		t.Helper()
		p.eventually(t, func() error {
			if got := value(metrics(t, url), "alertmanager_cluster_members"); got != members {
				return fmt.Errorf("it sees %s members, want %s", got, members)
			}
			return nil
		})
	}
	a, urlA := start("a")
	b, urlB := start("b")
	sees(a, urlA, "2")
	sees(b, urlB, "2")
	for range 2 {
		b.signal(t, syscall.SIGSTOP)
		sees(a, urlA, "1")
		longer := time.NewTimer(3 * time.Second) // than any limit of b's own
		<-longer.C
		b.signal(t, syscall.SIGCONT)
		sees(a, urlA, "2")
		sees(b, urlB, "2")
	}
	if log := b.stderr.String(); strings.Contains(log, "detached from the cluster") || value(metrics(t, urlB), "alertmanager_cluster_reconnections_total") != "0" {
		t.Error("who was stopped gave up a link that was sound")
	}
}
