package redis_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// opinion is a Sentinel that says which master it knows, at which epoch.
func opinion(t *testing.T, master *process.Server, epoch int) *process.Server {
	t.Helper()
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return program(t, "redis-sentinel", fmt.Sprintf("sentinel monitor main %s %s 2\nsentinel config-epoch main %d\n", host, port, epoch))
}

// persuade makes a Sentinel name another master.
func persuade(t *testing.T, sentinel, master *process.Server) {
	t.Helper()
	host, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, sentinel.Addr())
	do(t, c, "sentinel", "remove", "main")
	do(t, c, "sentinel", "monitor", "main", host, port, 2)
}

// by is for a node that knows those Sentinels, in that order.
func by(sentinels ...*process.Server) map[string]string {
	var all []string
	for _, s := range sentinels {
		all = append(all, s.Addr())
	}
	return map[string]string{"address": strings.Join(all, ","), "master_name": "main", "client_name": "node"}
}

// troubles returns what the status page shows of the node's transport.
func troubles(n *member) string {
	text := ""
	for _, t := range n.ClusterChannel.(backend.Inspector).Inspect().Troubles {
		text += t.What + ": " + t.Err.Error() + "\n"
	}
	return text
}

// TestSentinelsDisagree lets Sentinels name two masters, both of which are alive.
// All nodes follow the same one, whichever Sentinel answers first, and say so.
func TestSentinelsDisagree(t *testing.T) {
	t.Parallel()
	for what, epochs := range map[string]struct {
		one, two int // of the Sentinel that is alone in its opinion, and of the other two
		follow   int
	}{
		"the highest epoch":     {7, 3, 0},
		"most at an equal one":  {3, 3, 1},
		"most, at a higher one": {3, 4, 1},
	} {
		t.Run(what, func(t *testing.T) {
			masters := []*process.Server{local(t), local(t)}
			s := []*process.Server{opinion(t, masters[0], epochs.one), opinion(t, masters[1], epochs.two), opinion(t, masters[1], epochs.two)}
			nodes := []*member{open(t, "a", by(s[0], s[1], s[2])), open(t, "b", by(s[1], s[2], s[0])), open(t, "c", by(s[2], s[0], s[1]))}
			agree(t, 5*time.Second, nodes...)
			if n := connections(t, client(t, masters[epochs.follow].Addr())); n != 2*len(nodes) {
				t.Errorf("%d connections are to the master that should be followed, want two of each node", n)
			}
			testkit.Eventually(t, 10*time.Second, func() error {
				for _, n := range nodes {
					if text := troubles(n); !strings.Contains(text, "they name different masters") || !strings.Contains(text, "follows "+masters[epochs.follow].Addr()) {
						return fmt.Errorf("%s shows %q", n.name, text)
					}
				}
				return nil
			})
			examine(t, by(s...)).Say(t, "sentinel", driver.Fail, s[0].Addr()+" says "+masters[0].Addr())
			persuade(t, s[0], masters[1])
			testkit.Eventually(t, 10*time.Second, func() error {
				for _, n := range nodes {
					if text := troubles(n); text != "" {
						return fmt.Errorf("%s still shows %q", n.name, text)
					}
				}
				return nil
			})
			agree(t, 10*time.Second, nodes...)
		})
	}
}

// TestSplitBySentinels: nodes that know different Sentinels are at different
// masters, and meet when the Sentinels agree.
func TestSplitBySentinels(t *testing.T) {
	t.Parallel()
	masters := []*process.Server{local(t), local(t)}
	one, two := opinion(t, masters[0], 3), opinion(t, masters[1], 3)
	a, b, c := open(t, "a", by(one)), open(t, "b", by(two)), open(t, "c", by(two))
	agree(t, 5*time.Second, a)
	agree(t, 5*time.Second, b, c)
	a.set.add("of one half")
	b.set.add("of the other")
	persuade(t, one, masters[1])
	agree(t, 10*time.Second, a, b, c)
	hold(t, 10*time.Second, 2, a, b, c)
}

// TestSentinelWithoutTheRight: a Sentinel may hide the epoch, not the master.
func TestSentinelWithoutTheRight(t *testing.T) {
	t.Parallel()
	master := local(t)
	s := opinion(t, master, 3)
	c := goredis.NewClient(&goredis.Options{Addr: s.Addr(), MaxRetries: -1})
	defer c.Close() //nolint:errcheck // the answer counts
	do(t, c, "acl", "setuser", "node", "on", "nopass", "+sentinel|get-master-addr-by-name", "+client|setname", "+ping", "+hello")
	p := by(s)
	p["sentinel_username"], p["sentinel_password"] = "node", "any"
	agree(t, 5*time.Second, open(t, "a", p))
}
