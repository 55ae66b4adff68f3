package command_test

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/servers"
)

// versions are the programs that share a cluster: one of another version, which
// make compat builds, and this one. Without the other this one takes its part.
func versions() (other, own string) {
	return cmp.Or(os.Getenv("CLUSTERCHANNEL_COMPAT"), binary), binary
}

// A cluster is updated node by node: nodes of this version and of another are
// members of one list, share their silences, and take over from each other.
func TestVersionsShareACluster(t *testing.T) {
	t.Parallel()
	for backend, server := range map[string]func(t *testing.T) []string{
		"memberlist": nil,
		"redis": func(t *testing.T) []string {
			return []string{servers.Start(t, servers.Redis(), servers.Options{}).Addr(), "address"}
		},
		"nats": func(t *testing.T) []string {
			return []string{servers.Start(t, servers.NATS(), servers.Options{}).Addr(), "servers"}
		},
		"etcd": func(t *testing.T) []string {
			return []string{servers.Start(t, servers.Etcd(), servers.Options{}).Addr(), "endpoints"}
		},
	} {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			var cluster []string
			if server != nil {
				s := server(t)
				cluster = []string{"--cluster.backend=" + backend, "--cluster.name=compat", "--cluster.param=" + s[1] + "=" + s[0]}
			}
			c := compat{t: t, conf: "--config.file=" + file(t, "am.yml", config("nobody")), cluster: cluster}
			other, own := versions()
			first := c.start(other, "a")
			second := c.start(own, "b")
			third := c.start(other, "c")
			c.share(first, second, third)
			terminated(t, third.process)
			c.share(first, second)
			third = c.start(own, "c") // the update, and what it has comes from either
			c.share(first, second, third)
			terminated(t, first.process)
			c.share(second, third)
			first = c.start(other, "a") // and back again
			c.share(second, third, first)
		})
	}
}

// compat is a cluster of several versions.
type compat struct {
	t       *testing.T
	conf    string
	cluster []string // flags of the backend; without any, gossip
	gossip  []string // addresses of the nodes so far
	made    []string // comments of the silences
}

type member struct {
	*process
	api, name string
}

func (c *compat) start(program, name string) *member {
	c.t.Helper()
	args := []string{"alertmanager", "--web.listen-address=127.0.0.1:0", "--web.external-url=http://127.0.0.1", c.conf, "--storage.path=", "--cluster.peer-name=" + name}
	if c.cluster == nil {
		address := freeAddress(c.t)
		args = append(args, "--cluster.listen-address="+address)
		for _, peer := range c.gossip {
			args = append(args, "--cluster.peer="+peer)
		}
		c.gossip = append(c.gossip, address)
	}
	p := runProgram(c.t, program, append(args, c.cluster...)...)
	return &member{p, p.url(c.t), name}
}

// share sees that nodes are one cluster whose members have all silences, and makes
// one on each.
func (c *compat) share(nodes ...*member) {
	c.t.Helper()
	for _, n := range nodes {
		comment := fmt.Sprintf("%d of %s", len(c.made), n.name)
		silence(c.t, n.api, "quiet", comment)
		c.made = append(c.made, comment)
	}
	for _, n := range nodes {
		n.eventually(c.t, func() error {
			metrics, err := get(n.api + "/metrics")
			if err != nil {
				return err
			}
			if got := value(metrics, "alertmanager_cluster_members"); got != fmt.Sprint(len(nodes)) {
				return fmt.Errorf("%s has %s members, want %d", n.name, got, len(nodes))
			}
			silences, err := get(n.api + "/api/v2/silences")
			for _, comment := range c.made {
				if !strings.Contains(silences, fmt.Sprintf("%q", comment)) {
					return fmt.Errorf("%s lacks the silence %q (%v)", n.name, comment, err)
				}
			}
			return nil
		})
	}
}
