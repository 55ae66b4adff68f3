package interop_test

import (
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/testca"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// Members that cannot reach each other, but both reach another one, have each other's
// updates by that one, small and large, without waiting for an exchange.
func TestPartialPartition(t *testing.T) {
	plain, encrypted := map[string]string{}, map[string]string{"tls_config_file": testca.GossipFile(t, t.TempDir())}
	both := func(t *testing.T, a, b *host) {
		a.filter(t, "-A INPUT -s "+b.ip+" -j DROP", "-A OUTPUT -d "+b.ip+" -j DROP")
	}
	oneWay := func(t *testing.T, a, b *host) { a.filter(t, "-A INPUT -s "+b.ip+" -j DROP") }
	for name, c := range map[string]struct {
		params map[string]string
		apart  int // members that a is apart from
		cut    func(t *testing.T, a, b *host)
	}{
		"one from one":               {plain, 1, both},
		"one from one, with TLS":     {encrypted, 1, both},
		"one from two":               {plain, 2, both},
		"one from one, one way":      {plain, 1, oneWay},
		"one from one, one way, TLS": {encrypted, 1, oneWay},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t)
			var hosts []*host
			for range 2 + c.apart {
				hosts = append(hosts, l.host(t))
			}
			openAll(t, c.params, hosts...)
			a, others, relay := hosts[0], hosts[1:1+c.apart], hosts[1+c.apart]
			before := relay.call(t, request{Do: "status"})
			var pairs [][2]*host
			for _, b := range others {
				c.cut(t, a, b)
				pairs = append(pairs, [2]*host{a, b}, [2]*host{b, a})
			}
			for i := range 3 {
				for _, size := range []int{10, 5000, 1 << 20} {
					for _, pair := range pairs {
						name := fmt.Sprint(pair[0].name(), pair[1].name(), i, "/", size)
						began := time.Now()
						pair[0].call(t, request{Do: "broadcast", Name: name, Size: size})
						has(t, pair[1], name)
						t.Logf("%d bytes from %s to %s: %v", size, pair[0].name(), pair[1].name(), time.Since(began).Round(time.Millisecond))
					}
				}
			}
			testkit.Eventually(t, 20*time.Second, func() error {
				for _, b := range others {
					told := regexp.MustCompile(`what="members that others reach cannot be reached" err="to or from .*\b` + b.name() + ` at`)
					if !told.MatchString(a.log.String()) {
						return fmt.Errorf("%s does not say that it does not reach %s", a.name(), b.name())
					}
				}
				return nil
			})
			for _, h := range hosts {
				s := h.call(t, request{Do: "status"})
				if s.Members != "abcd"[:len(hosts)] {
					t.Errorf("%s lists %q", h.name(), s.Members)
				}
				if n := s.value(t, "clusterchannel_resyncs_total") - before.value(t, "clusterchannel_resyncs_total"); h != relay && n > 9 { // of 18 updates and more
					t.Errorf("%s has asked for %v states: the updates came by exchange", h.name(), n)
				}
				if n := s.value(t, "clusterchannel_undelivered_total"); n != 0 {
					t.Errorf("%s has lost %v frames", h.name(), n)
				}
			}
		})
	}
}

// has waits until a host's node has an update.
func has(t *testing.T, h *host, update string) {
	t.Helper()
	testkit.Eventually(t, 10*time.Second, func() error {
		if _, ok := h.call(t, request{Do: "got"}).Got[update]; !ok {
			return fmt.Errorf("%s has no %s", h.name(), update)
		}
		return nil
	})
}

// What cannot be brought to a member, by this node or another, is counted and logged.
func TestUndeliveredIsCounted(t *testing.T) {
	l := newLAN(t)
	a, b := l.host(t), l.host(t)
	openAll(t, nil, a, b)
	b.filter(t, "-A INPUT -p tcp --syn -j REJECT --reject-with tcp-reset") // a ping is answered
	a.call(t, request{Do: "broadcast", Name: "large", Size: 5000})
	testkit.Eventually(t, 10*time.Second, func() error {
		if a.call(t, request{Do: "status"}).value(t, "clusterchannel_undelivered_total") == 0 {
			return fmt.Errorf("nothing is counted")
		}
		return nil
	})
	logged(t, a, "did not reach a member")
	logged(t, a, `what="TCP is refused" err="to or from b at`)
	b.unfilter(t)
	logged(t, a, `as it should again"`)
	has(t, b, "large")
}

// logged waits until a host's node has logged a text.
func logged(t *testing.T, h *host, text string) {
	t.Helper()
	testkit.Eventually(t, 20*time.Second, func() error {
		if !strings.Contains(h.log.String(), text) {
			return fmt.Errorf("%s has not logged %q", h.name(), text)
		}
		return nil
	})
}

// With UDP blocked, both ways or one, small updates go by streams, and log and
// metrics say for whom.
func TestBlockedUDP(t *testing.T) {
	for name, rules := range map[string][]func(*host) string{"in": {packetsIn}, "out": {packetsOut}, "both": {packetsIn, packetsOut}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t)
			a, b, c := l.host(t), l.host(t), l.host(t)
			openAll(t, nil, a, b, c)
			for _, rule := range rules {
				b.filter(t, rule(nil))
			}
			for _, h := range []*host{a, c} {
				logged(t, h, `what="UDP is blocked" err="to or from b at`)
				testkit.Eventually(t, 10*time.Second, func() error {
					s := h.call(t, request{Do: "status"})
					if s.value(t, "alertmanager_cluster_pings_failures_total") == 0 || s.value(t, "clusterchannel_pings_failing", `peer="b"`) != 1 {
						return fmt.Errorf("%s counts no failed pings of b", h.name())
					}
					return nil
				})
			}
			for i := range 5 {
				for _, pair := range [][2]*host{{a, b}, {b, c}} {
					update := fmt.Sprint(pair[0].name(), i)
					began := time.Now()
					pair[0].call(t, request{Do: "broadcast", Name: update, Size: 10})
					has(t, pair[1], update)
					t.Logf("%s to %s: %v", pair[0].name(), pair[1].name(), time.Since(began).Round(time.Millisecond))
				}
			}
			b.unfilter(t)
			for _, h := range []*host{a, c} {
				logged(t, h, `as it should again"`)
				testkit.Eventually(t, 10*time.Second, func() error {
					if s := h.call(t, request{Do: "status"}); s.value(t, "clusterchannel_pings_failing", `peer="b"`) != 0 {
						return fmt.Errorf("%s still says that packets to b are lost", h.name())
					}
					return nil
				})
			}
		})
	}
}

// A network that loses the first packet of each connection costs an update the
// second after which TCP repeats it, and no more attempts.
func TestFirstPacketIsLost(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	a, b := l.host(t), l.host(t)
	openAll(t, nil, a, b)
	b.filter(t, "-A INPUT -p tcp --syn -m statistic --mode nth --every 2 --packet 0 -j DROP")
	began := time.Now()
	a.call(t, request{Do: "broadcast", Name: "large", Size: 5000})
	has(t, b, "large")
	t.Logf("after %v", time.Since(began).Round(time.Millisecond))
	if s := a.call(t, request{Do: "status"}); s.value(t, "clusterchannel_undelivered_total") > 0 {
		t.Error("what is repeated is counted as lost")
	}
}

// Where packets are blocked memberlist does not hear that a node leaves, and tells of
// it whoever joins. To that one too it has left, and not failed.
func TestJoinAfterALeaveWithoutUDP(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	a, b, c, d := l.host(t), l.host(t), l.host(t), l.host(t)
	for _, h := range []*host{a, b, c, d} {
		h.filter(t, packetsIn(nil))
	}
	openAll(t, nil, a, b, c)
	for _, h := range []*host{a, b} {
		logged(t, h, `what="UDP is blocked"`)
	}
	c.call(t, request{Do: "close"})
	d.call(t, request{Do: "open", Name: d.name(), Params: map[string]string{"listen_address": d.ip + ":9094", "peers": a.ip + ":9094," + b.ip + ":9094"}})
	agreed(t, a, b, d)
	for _, h := range []*host{a, b, d} {
		if s := h.call(t, request{Do: "status"}); s.value(t, "clusterchannel_members_failed_total") != 0 {
			t.Errorf("%s counts a failure; its views were %q", h.name(), s.History)
		}
	}
}

// A process that stands still for less than it takes to detect a crash has not failed, also
// where UDP is blocked everywhere: then it cannot be told that it is suspected, nor tell by
// gossip that it lives.
func TestAStallWithoutUDP(t *testing.T) {
	t.Parallel()
	l := newLAN(t)
	a, b, c := l.host(t), l.host(t), l.host(t)
	for _, h := range []*host{a, b, c} {
		h.filter(t, packetsIn(nil))
	}
	openAll(t, nil, a, b, c)
	for _, h := range []*host{a, c} {
		logged(t, h, `what="UDP is blocked"`)
	}
	for range 4 {
		if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		<-time.After(1200 * time.Millisecond)
		if err := b.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		<-time.After(5 * time.Second) // in which it would be dropped
	}
	agreed(t, a, b, c)
	for _, h := range []*host{a, c} {
		if s := h.call(t, request{Do: "status"}); s.value(t, "clusterchannel_members_failed_total") != 0 {
			t.Errorf("%s counts a failure; its views were %q", h.name(), s.History)
		}
	}
}
