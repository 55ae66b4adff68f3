package conformance

import (
	"context"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/netfault"
)

// isolate cuts n off from all others, or joins it again.
func (n *node) isolate(cut bool) {
	e := n.env
	e.Helper()
	switch {
	case n.proxy != nil && cut:
		n.proxy.Set(netfault.Refuse)
	case n.proxy != nil:
		n.proxy.Set(netfault.Pass)
	case e.h.Cut != nil:
		for _, m := range n.others() {
			e.h.Cut(e, n.Node, m.Node, cut)
		}
	default:
		e.Fatalf("%s needs Harness.Cut, since the server's address %q is no host:port", e.check.name, n.Server)
	}
}

// canIsolate reports whether the harness can cut n off.
func (n *node) canIsolate() bool { return n.proxy != nil || n.env.h.Cut != nil }

// deafen makes what n sends and what it should hear vanish, without an error,
// or stops that.
func (n *node) deafen(deaf bool) {
	n.env.Helper()
	switch {
	case n.proxy != nil && deaf:
		n.proxy.Set(netfault.Swallow)
	case n.proxy != nil:
		n.proxy.Set(netfault.Pass)
	case n.tap.native():
		n.isolate(deaf)
	default:
		n.tap.setDeaf(deaf)
	}
}

// stall holds back what n sends until release is called.
func (n *node) stall() (release func()) {
	if n.proxy == nil {
		return n.tap.stall()
	}
	n.proxy.Set(netfault.Stall)
	return sync.OnceFunc(func() { n.proxy.Set(netfault.Pass) })
}

// kill ends n as a crash does: nobody hears what it sends on closing.
func (n *node) kill() {
	e := n.env
	e.Helper()
	switch {
	case n.canIsolate():
		n.isolate(true)
	case n.tap.native():
		e.Fatalf("%s needs Harness.Cut: a transport that knows its members would announce the leave", e.check.name)
	}
	n.tap.setDeaf(true)
	n.gone.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), e.scaled(time.Second))
	defer cancel()
	_ = n.Close(ctx) // it cannot say goodbye
	if n.canIsolate() {
		n.isolate(false) // a harness may cut by name, and the name may come back
	}
}

// outage stops the server, or cuts all links if there is none that may be
// stopped, and returns a function that restores it.
func (e *env) outage() (end func()) {
	e.Helper()
	nodes := e.opened()
	switch {
	case e.h.Address != "":
		return e.blink()
	case e.server != nil:
		e.server.Stop(e)
		return func() { e.server.Start(e) }
	}
	set := func(cut bool) {
		for i, a := range nodes {
			for _, b := range nodes[:i] {
				e.h.Cut(e, a.Node, b.Node, cut)
			}
		}
	}
	set(true)
	return func() { set(false) }
}

// blink is an outage that ends as soon as end is called. A server takes time to
// start, so if there are proxies, blink cuts all links to the server instead.
func (e *env) blink() (end func()) {
	e.Helper()
	nodes := e.opened()
	if nodes[0].proxy == nil {
		return e.outage()
	}
	for _, n := range nodes {
		n.isolate(true)
	}
	return func() {
		for _, n := range nodes {
			n.isolate(false)
		}
	}
}
