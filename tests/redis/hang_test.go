package redis_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// driversOwn returns the stacks of goroutines that are in the driver or its library.
func driversOwn() (stacks []string) {
	all := make([]byte, 8<<20)
	for stack := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
		if strings.Contains(stack, "/backends/redis") || strings.Contains(stack, "/go-redis/") {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}

// inTime calls f with a context of 300 ms. It must end with that, and then leave no
// goroutine of the driver behind.
func inTime(t *testing.T, what string, before int, f func(ctx context.Context) error) {
	t.Helper()
	const patience, slack = 300 * time.Millisecond, 2 * time.Second // a step of the driver takes 3 s by itself
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	err := f(ctx)
	if took := time.Since(began); took > patience+slack {
		t.Errorf("%s took %v with a context of %v", what, took, patience)
	}
	t.Logf("%s ended after %v: %v", what, time.Since(began).Round(time.Millisecond), err)
	testkit.Eventually(t, slack, func() error {
		if now := driversOwn(); len(now) > before {
			return fmt.Errorf("%s: %d goroutines of the driver, before %d:\n%s", what, len(now), before, strings.Join(now, "\n\n"))
		}
		return nil
	})
}

// wires are parameters of each wire.
var wires = map[string]map[string]string{"native": {}, "grafana": {"wire": "grafana", "prefix": "hang"}}

// TestOpenEndsWithItsContext, whatever the server does and wherever it is looked
// for.
func TestOpenEndsWithItsContext(t *testing.T) {
	s := local(t)
	stopped := local(t)
	stopped.Pause(t)
	defer stopped.Resume(t)
	slow, err := netfault.Listen(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()                 //nolint:errcheck // the test is over
	slow.Delay(200 * time.Millisecond) // each answer; several are needed
	silent, other := answer(t, ""), answer(t, "")
	for server, params := range map[string]map[string]string{
		"accepts and says nothing": {"address": silent},
		"is stopped":               at(stopped),
		"answers slowly":           {"address": slow.Addr()},
		"Sentinels that hang":      {"address": silent + "," + other, "master_name": "main"},
		"a master that hangs":      by(opinion(t, stopped, 1)),
		"a Cluster that hangs":     {"address": silent + "," + other},
		"TLS":                      {"address": silent, "tls": "true"},
	} {
		for wire, more := range wires {
			for key, value := range more {
				params[key] = value
			}
			c := configure(t, "a", params, &testkit.Log{})
			c.OnStartFailure = backend.Fail
			inTime(t, server+", "+wire+": Open", len(driversOwn()), func(ctx context.Context) error {
				channel, err := backend.Open(ctx, c)
				if err == nil {
					t.Error("it is open")
					return channel.Close(ctx)
				}
				return err
			})
			delete(params, "wire")
			delete(params, "prefix")
		}
	}
}

// TestCloseEndsWithItsContext, while the server hangs in different ways.
func TestCloseEndsWithItsContext(t *testing.T) {
	s := local(t)
	for fault, hang := range map[string]func(p *netfault.Proxy) (back func()){
		"says nothing":   func(p *netfault.Proxy) func() { p.Set(netfault.Swallow); return func() {} },
		"reads nothing":  func(p *netfault.Proxy) func() { p.Set(netfault.Stall); return func() {} },
		"answers slowly": func(p *netfault.Proxy) func() { p.Delay(200 * time.Millisecond); return func() {} },
		"is gone":        func(p *netfault.Proxy) func() { p.Set(netfault.Refuse); return func() {} },
		"is stopped":     func(*netfault.Proxy) func() { s.Pause(t); return func() { s.Resume(t) } },
	} {
		for wire, params := range wires {
			t.Run(fault+", "+wire, func(t *testing.T) {
				p, err := netfault.Listen(s.Addr)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = p.Close() })
				before := len(driversOwn())
				all := map[string]string{"address": p.Addr()}
				for key, value := range params {
					all[key] = value
				}
				channel, err := backend.Open(t.Context(), configure(t, "a", all, &testkit.Log{}))
				if err != nil {
					t.Fatal(err)
				}
				if err := channel.WaitReady(t.Context()); err != nil {
					t.Fatal(err)
				}
				back := hang(p)
				defer back()
				inTime(t, "Close", before, func(ctx context.Context) error { return channel.Close(ctx) })
			})
		}
	}
}
