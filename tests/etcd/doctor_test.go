package etcd_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
	"github.com/clusterchannel/clusterchannel/tests/findings"
)

// examine lets the doctor examine a node.
func examine(t *testing.T, params map[string]string) findings.All {
	t.Helper()
	return findings.Examine(t, "etcd", driver.Options{Cluster: cluster, Params: params})
}

// TestDoctorOfUpkeep examines a server whose store is mostly free, before it is
// defragmented and after, and another that only learns.
func TestDoctorOfUpkeep(t *testing.T) {
	t.Parallel()
	peer := fmt.Sprintf("http://127.0.0.1:%d", process.Port(t))
	path := process.Need(t, "etcd")
	first := process.Start(t, memberSpec(t, path, "m0", t.TempDir(), peer, peer, "m0="+peer, "--quota-backend-bytes", "33554432"))
	client := admin(t, first.Addr())
	at := endpoints(first.Addr())
	examine(t, at).Say(t, "endpoints", driver.OK, "one, which is the endpoint")

	value := strings.Repeat("x", 1<<20)
	for range 15 {
		put(t, client, "large", value)
	}
	now, err := client.Get(within(t), "large")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(within(t), now.Header.Revision); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, func() error { // it is freed some writes later
		put(t, client, "small", "")
		s, err := client.Status(within(t), first.Addr())
		if err == nil && s.DbSize-s.DbSizeInUse < 10<<20 {
			err = fmt.Errorf("%d bytes of %d are in use", s.DbSizeInUse, s.DbSize)
		}
		return err
	})
	examine(t, at).Say(t, "fragmentation", driver.Warn, "etcdctl defrag")
	if _, err := client.Defragment(within(t), first.Addr()); err != nil {
		t.Fatal(err)
	}
	examine(t, at).Say(t, "quota", driver.OK, "stored of")

	other := fmt.Sprintf("http://127.0.0.1:%d", process.Port(t))
	if _, err := client.MemberAddAsLearner(within(t), []string{other}); err != nil {
		t.Fatal(err)
	}
	learner := process.Start(t, memberSpec(t, path, "m1", t.TempDir(), other, other, "m0="+peer+",m1="+other, "--initial-cluster-state", "existing"))
	examine(t, at).Say(t, "endpoints", driver.Warn, "list others")
	examine(t, endpoints(learner.Addr())).Say(t, "auth", driver.Fail, "etcdctl member promote")
}
