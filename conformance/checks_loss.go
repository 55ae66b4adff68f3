package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/netfault"
)

// What becomes of a driver whose link is lost, or does not come up.
var lossChecks = []*check{
	{name: "loss/is-told", level: fault, rules: []int{2, 21}, needs: links, body: lossIsTold,
		holds: "a driver that was cut off and hears again says so, by Link or the end of Serve, if it has missed anything"},
	{name: "loss/leaves-nothing", level: fault, rules: []int{20}, alone: true, body: lossLeavesNothing,
		holds: "links that are lost again and again leave no goroutine and no descriptor, and nothing on stdout and stderr"},
	{name: "loss/failed-open", level: fault, rules: []int{18, 20}, needs: server, alone: true, body: lossFailedOpen,
		holds: "an Open that fails says that trying again may help, and leaves no goroutine, no descriptor, nothing on stdout and stderr"},
}

// lossIsTold cuts off b while a witness talks, or, where no link can be broken,
// all while the server is away: then the witness is opened afterwards.
func lossIsTold(e *env) {
	a, b := e.open("a"), e.open("b")
	e.agreed(a, b)
	if b.proxy == nil && (e.server == nil || e.h.Address != "") {
		e.notChecked("there is no server, and no connection that can be broken")
		return
	}
	opens, words, mute := b.tap.opened(), b.tap.words(), b.tap.mute()
	witness := a.say
	var early marks
	if !b.tap.native() {
		b.tap.setAttached(func() { early.say(b) })
	}
	if b.proxy != nil {
		b.proxy.Set(netfault.Refuse)
	} else {
		e.server.Stop(e)
		e.server.Start(e)
		w := e.bare("witness", nil)
		defer w.end(e)
		witness = func(m mark) error { return w.Broadcast(context.Background(), m) }
	}
	var missed []mark
	for range 5 {
		m := e.mark(300)
		if err := witness(m); err != nil {
			e.Fatalf("the witness cannot send: %v", err)
		}
		missed = append(missed, m)
	}
	if b.proxy != nil {
		b.proxy.Set(netfault.Pass)
	}
	var later []mark
	e.eventually(e.patience(), "b hears again", func() error {
		if len(b.tap.order(later)) > 0 {
			return nil
		}
		m := e.mark(300)
		later = append(later, m)
		err := witness(m)
		<-time.After(20 * time.Millisecond)
		return errors.Join(errors.New("nothing yet"), err)
	})
	lost := len(missed) - len(b.tap.order(missed))
	switch {
	case b.tap.words() == words && b.tap.opened() == opens && lost > 0:
		e.Errorf("b was cut off, hears again by the same driver and has missed %d of %d frames, but Link was not called and Serve has not ended: a client library has reconnected by itself, and nothing asks for what was missed", lost, len(missed))
	case b.tap.mute() > mute:
		e.Errorf("b was cut off, and its driver said nothing, and heard nothing, until the portable layer opened another one: Serve is to end when the link is lost, or to call Link; a client library that reconnects by itself has to subscribe again")
	}
	b.tap.setAttached(nil)
	e.eventually(e.limit(restart), "a and b agree, and b hears what it sent once it was attached", func() error {
		return errors.Join(agree(a, b), early.heard(b))
	})
}

// lose takes the link of n away for a moment, by what the harness has.
func (e *env) lose(n *node) {
	e.Helper()
	opens, words := n.tap.opened(), n.tap.words()
	switch {
	case n.proxy != nil:
		n.proxy.Set(netfault.Refuse)
		defer n.proxy.Set(netfault.Pass)
	case e.server != nil && e.h.Address == "":
		e.server.Stop(e)
		defer e.server.Start(e)
	default:
		n.tap.giveUp()
	}
	e.eventually(e.limit(detect), "the driver says that its link is lost", func() error {
		if n.tap.opened() == opens && n.tap.words() == words {
			return errors.New("it says nothing")
		}
		return nil
	})
	e.eventually(e.patience(), "the node knows that its link is lost, or has another one", func() error {
		if n.View().Status == backend.Attached && n.tap.opened() == opens && n.tap.words() < words+2 {
			return errors.New("it does not")
		}
		return nil
	})
}

func lossLeavesNothing(e *env) {
	nodes := e.openAll("a", "b")
	lose := func() {
		e.lose(nodes[0])
		e.eventually(e.limit(restart), "both agree again", func() error { return agree(nodes...) })
	}
	lose() // what a library starts once and keeps is no leak
	before := measure()
	output, restore := captureOutput(e)
	defer restore()
	const times = 4
	for range times {
		lose()
	}
	restore()
	e.eventually(e.patience(), fmt.Sprintf("goroutines and descriptors are as before %d losses", times), func() error {
		now := measure()
		if now.goroutines >= before.goroutines+times {
			return goroutineError(fmt.Sprintf("%d goroutines, before %d", now.goroutines, before.goroutines))
		}
		if now.descriptors >= before.descriptors+times {
			return fmt.Errorf("%d descriptors, before %d", now.descriptors, before.descriptors)
		}
		return nil
	})
	e.silent(output())
}

func lossFailedOpen(e *env) {
	first := e.open("warm-up")
	first.close()
	fails := func(e *env) {
		n, err := e.prepare("node", func(c *backend.Config) { c.OnStartFailure = backend.Fail })
		if err != nil {
			e.Fatal(err)
		}
		if n.proxy != nil {
			n.proxy.Set(netfault.Refuse)
		}
		switch err := n.start(context.Background()); {
		case err == nil:
			n.close()
			e.Errorf("Open with on_start_failure: fail returned no error, though nothing answers")
		case !errors.Is(err, backend.ErrUnavailable):
			e.Errorf("Open where nothing answers: %v, want what wraps ErrUnavailable", err)
		}
	}
	if first.proxy == nil {
		e.server.Stop(e)
		defer e.server.Start(e)
	}
	fails(e)
	e.closeProxies()
	before := measure()
	output, restore := captureOutput(e)
	defer restore()
	for range 4 {
		fails(e)
	}
	restore()
	e.leftNothing(before)
	e.silent(output())
}
