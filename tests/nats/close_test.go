package nats_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// flushTimeout is how long the driver waits for a server that answers nothing.
const flushTimeout = 5 * time.Second

// TestCloseWhileABroadcastIsStuck: the library holds its lock while a server takes
// nothing; Close ends with its context all the same.
func TestCloseWhileABroadcastIsStuck(t *testing.T) {
	t.Parallel()
	_, p, d, _ := openBehindProxy(t)
	p.Set(netfault.Stall)
	defer p.Set(netfault.Refuse)
	ctx, cancel := context.WithCancel(t.Context())
	var stuck sync.WaitGroup
	for range 128 { // more than all buffers on the way hold
		stuck.Go(func() { _ = d.Broadcast(ctx, make([]byte, 256<<10)) }) // fails
	}
	defer stuck.Wait()
	defer cancel()
	short, done := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer done()
	began := time.Now()
	err := d.Close(short)
	if took := time.Since(began); took > flushTimeout/2 {
		t.Errorf("Close took %v (%v), past its context of 300ms", took, err)
	}
}

// TestCloseWithoutAServer: there is nothing to wait for where there is no connection.
func TestCloseWithoutAServer(t *testing.T) {
	t.Parallel()
	_, p, d, r := openBehindProxy(t)
	p.Set(netfault.Refuse)
	testkit.Eventually(t, 20*time.Second, func() error { return r.up(false) })
	long, done := context.WithTimeout(context.Background(), time.Minute)
	defer done()
	began := time.Now()
	err := d.Close(long)
	if took := time.Since(began); took > flushTimeout/2 || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close took %v: %v", took, err)
	}
}
