package nats_test

import (
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// TestHostileClusterNames: each cluster has one token of its own below the prefix.
func TestHostileClusterNames(t *testing.T) {
	t.Parallel()
	s := start(t, base)
	names := []string{
		"a", "A", "a.b", "a%2Eb", "a b", "a+b", "a*", "*", ">", "a.>", ".", "..", "$SYS", "$SYS.>", "a\tb", "a\r\nPUB x 1\r\n", "a:b", "a/b", `a"b`, "ä", "日本",
		strings.Repeat("c", 200), strings.Repeat(".", 200), strings.Repeat("é", 100), strings.Repeat("\U0001F600", 50),
	}
	stranger := dial(t, s.Addr())
	heard, err := stranger.SubscribeSync(">")
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Flush(); err != nil {
		t.Fatal(err)
	}
	of := map[string]string{} // subject to cluster
	for _, name := range names {
		n := open(t, "a", map[string]string{"servers": s.Addr()}, func(c *backend.Config) { c.Cluster = name })
		testkit.Eventually(t, 20*time.Second, func() error { return agree(n) })
		n.close(t)
		if err := stranger.Flush(); err != nil {
			t.Fatal(err)
		}
		used := map[string]bool{}
		for {
			m, err := heard.NextMsg(time.Millisecond)
			if err != nil {
				break
			}
			used[m.Subject] = true
		}
		for subject := range used { // that of the cluster, and below it that of the node
			words := strings.Split(subject, ".")
			if len(words) > 3 || words[0] != "clusterchannel" || !used[words[0]+"."+words[min(1, len(words)-1)]] || len(used) != 2 {
				t.Errorf("cluster %q uses the subjects %v", name, used)
			}
			if other, ok := of[subject]; ok {
				t.Errorf("clusters %q and %q share the subject %q", name, other, subject)
			}
			of[subject] = name
		}
		if len(used) == 0 {
			t.Errorf("cluster %q: nothing was heard", name)
		}
	}
}

// TestPrefixSeparates clusters of one name.
func TestPrefixSeparates(t *testing.T) {
	t.Parallel()
	s := start(t, base)
	a := open(t, "a", map[string]string{"servers": s.Addr(), "prefix": "one.team"})
	b := open(t, "b", map[string]string{"servers": s.Addr(), "prefix": "another"})
	c := open(t, "c", map[string]string{"servers": "nats://" + s.Addr(), "prefix": "another"})
	testkit.Eventually(t, 20*time.Second, func() error { return agree(b, c) })
	b.write(t, "x")
	testkit.Eventually(t, 20*time.Second, func() error { return hold(1, b, c) })
	if err := agree(a); err != nil {
		t.Error(err)
	}
	if err := hold(0, a); err != nil {
		t.Error(err)
	}
}
