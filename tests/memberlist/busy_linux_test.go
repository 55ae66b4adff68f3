package interop_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	child "github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// Where a machine is late, all answers are. What nodes do about a late answer must not make
// it later: else those that are thirty in a process never agree, and never rest.
func TestManyFormOnABusyMachine(t *testing.T) {
	if !*large {
		t.Skip("takes all processors for half a minute: with -large")
	}
	const n = 30
	take(t, 4*runtime.GOMAXPROCS(0))
	var nodes []backend.ClusterChannel
	for i := range n {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 19, 0, byte(1 + i)}), 9094).String()
		c, err := backend.Open(t.Context(), backend.Config{
			Backend: "memberlist", Cluster: "c", Name: fmt.Sprint("n", i), Logger: slog.New(slog.DiscardHandler),
			Params: map[string]string{"listen_address": addr, "peers": "127.19.0.1:9094"},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(sync.OnceFunc(func() { _ = c.Close(context.Background()) })) // what it has not sent is of no interest
		nodes = append(nodes, c)
	}
	began := time.Now()
	testkit.Eventually(t, time.Minute, func() error {
		for _, c := range nodes {
			if v := c.View(); len(v.Members) != n {
				return fmt.Errorf("a node lists %d of %d", len(v.Members), n)
			}
		}
		return nil
	})
	t.Logf("%d nodes agreed %v after the last was opened", n, time.Since(began).Round(time.Millisecond))
	testkit.Eventually(t, time.Minute, func() error {
		const watched = 5 * time.Second
		before := processor(t, os.Getpid())
		<-time.After(watched)
		if spent := processor(t, os.Getpid()) - before; spent > watched/4 {
			return fmt.Errorf("at rest they use %v of a processor in %v", spent, watched)
		}
		return nil
	})
}

// take runs as many busy loops beside the test.
func take(t *testing.T, loops int) {
	for range loops {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		cmd.SysProcAttr = child.EndWithParent()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // that it was killed
		})
	}
}
