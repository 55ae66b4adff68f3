package etcd_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// seated opens a node for each member of q, each of which knows all members.
func seated(t *testing.T, q *quorum) []*node {
	t.Helper()
	var nodes []*node
	for i, name := range []string{"a", "b", "c"} {
		addrs := q.addrs()
		nodes = append(nodes, open(t, name, endpoints(addrs[i], addrs[(i+1)%3], addrs[(i+2)%3])))
	}
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	talk(t, "before", nodes...)
	return nodes
}

// TestUpkeep does to an etcd of three members what its operators do while nodes
// are attached. No view changes, and nothing is lost.
func TestUpkeep(t *testing.T) {
	t.Parallel()
	q := newQuorum(t)
	client := admin(t, q.addrs()[0])
	nodes := seated(t, q)
	stop := steadily(t, func() error {
		for _, n := range nodes {
			if err := n.sees("a", "b", "c"); err != nil {
				return err
			}
		}
		return nil
	})
	defer stop()

	for i, addr := range q.addrs() {
		if _, err := client.Defragment(within(t), addr); err != nil {
			t.Fatal(err)
		}
		talk(t, fmt.Sprint("defragmented ", i), nodes...)
	}

	leader, next := leaders(t, client, q.addrs())
	if _, err := admin(t, leader).MoveLeader(within(t), next); err != nil {
		t.Fatal(err)
	}
	talk(t, "another leader", nodes...)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })

	replace(t, q, client)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })
	talk(t, "a member replaced", nodes...)
	stop()
}

// leaders returns the address of the leader, and the number of another member.
func leaders(t *testing.T, client *clientv3.Client, addrs []string) (leader string, other uint64) {
	t.Helper()
	for _, addr := range addrs {
		s, err := client.Status(within(t), addr)
		if err != nil {
			t.Fatal(err)
		}
		if s.Header.MemberId == s.Leader {
			leader = addr
		} else {
			other = s.Header.MemberId
		}
	}
	return leader, other
}

// replace puts a new and empty member in the place of the last one.
func replace(t *testing.T, q *quorum, client *clientv3.Client) {
	t.Helper()
	r, err := client.MemberList(within(t))
	if err != nil {
		t.Fatal(err)
	}
	initial := ""
	for _, m := range r.Members {
		if m.Name != "m2" {
			initial += fmt.Sprintf("%s=%s,", m.Name, m.PeerURLs[0])
			continue
		}
		testkit.Eventually(t, 20*time.Second, func() error { // it is refused until all members are well
			_, err := client.MemberRemove(within(t), m.ID)
			return err
		})
	}
	q.members[2].Stop(t)
	peer := fmt.Sprintf("http://127.0.0.1:%d", process.Port(t))
	testkit.Eventually(t, 20*time.Second, func() error { _, err := client.MemberAdd(within(t), []string{peer}); return err })
	spec := memberSpec(t, process.Need(t, "etcd"), "m3", t.TempDir(), peer, peer, initial+"m3="+peer, "--initial-cluster-state", "existing")
	joined := process.Start(t, spec)
	testkit.Eventually(t, 20*time.Second, func() error { _, err := admin(t, joined.Addr()).Get(within(t), prefix); return err })
}

// TestRestoredSnapshot brings all members back from a snapshot, and with it the
// keys, leases and revision of a while ago.
func TestRestoredSnapshot(t *testing.T) {
	t.Parallel()
	restore := process.Need(t, "etcdutl")
	q := newQuorum(t)
	client := admin(t, q.addrs()[0])
	nodes := seated(t, q)
	file := snapshot(t, client)
	talk(t, "after the snapshot", nodes...)
	nodes[2].close(t) // the snapshot still lists it
	nodes = append(nodes[:2], open(t, "d", endpoints(q.addrs()...), func(c *backend.Config) { c.Name = "d" }))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(nodes...) })

	for _, m := range q.members {
		m.Stop(t)
	}
	for i, m := range q.members {
		m.Empty(t)
		m.Exec(t, restore, "snapshot", "restore", file, "--name", fmt.Sprintf("m%d", i), "--data-dir", q.data[i]+"/etcd",
			"--initial-cluster", q.initial, "--initial-cluster-token", q.token, "--initial-advertise-peer-urls", q.peer(i))
	}
	for _, n := range nodes {
		testkit.Eventually(t, 20*time.Second, func() error { return n.detached() })
		n.say("while there is no etcd, " + n.View().Self().Name)
	}
	for _, m := range q.members {
		m.Start(t)
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		err := agree(nodes...)
		for _, n := range nodes {
			err = errors.Join(err, n.heard("after the snapshot-2", "while there is no etcd, a", "while there is no etcd, b", "while there is no etcd, d"))
		}
		return err
	})
	talk(t, "restored", nodes...)
}

// snapshot saves one to a file.
func snapshot(t *testing.T, client *clientv3.Client) (path string) {
	t.Helper()
	r, err := client.Snapshot(within(t))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "snapshot")
	f, err := os.Create(path)
	if err == nil {
		_, err = io.Copy(f, r)
	}
	if err = errors.Join(err, f.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}
