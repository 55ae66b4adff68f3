package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// These checks hand frames to the drivers below the nodes: what package driver
// promises, and the portable layer hides for a while.
var driverChecks = []*check{
	{name: "driver/subscribed-first", level: basic, rules: []int{1, 21}, body: driverSubscribedFirst,
		holds: "what is sent once Open has returned, or the driver has said that it is attached, is heard"},
	{name: "driver/frame-limit", level: basic, rules: []int{5}, body: driverFrameLimit,
		holds: "a frame of Caps.MaxFrame bytes arrives whole; one of a byte more is refused with ErrTooLarge"},
	{name: "driver/many-senders", level: basic, rules: []int{1, 3}, body: driverManySenders,
		holds: "sixteen goroutines may send at once, and no frame is damaged"},
	{name: "driver/send-to-one", level: basic, rules: []int{1, 23}, body: driverSendToOne,
		holds: "what is for one member reaches that one alone, in order; nobody is reached by a wildcard, nor is silence the answer where there is no such member"},
	{name: "driver/nothing-stale", level: basic, rules: []int{1, 11}, body: driverNothingStale,
		holds: "a subscription is handed nothing that was sent before it, longer ago than Caps.Linger"},
	{name: "driver/nothing-older", level: fault, rules: []int{1, 11}, waits: true, body: driverNothingOlder,
		holds: "the same of a transport whose frames may linger for more than a second: once that is over, which takes up to a minute"},
	{name: "driver/closed", level: basic, rules: []int{20}, alone: true, body: driverClosed,
		holds: "what was accepted before Close is sent; after it, sends report ErrClosed; a driver that never served leaves nothing either"},
}

func driverSubscribedFirst(e *env) {
	a := e.open("a")
	e.agreed(a)
	if a.tap.native() {
		e.notChecked("a transport that knows its members need not hear its own frames")
		return
	}
	var said marks
	a.tap.setAttached(func() { said.say(a) })
	for range 3 {
		opens, words := a.tap.opened(), a.tap.words()
		a.tap.giveUp()
		e.eventually(e.limit(restart), "another driver is opened, and attached", func() error {
			if a.tap.opened() == opens || a.tap.words() == words {
				return errors.New("not yet")
			}
			return agree(a)
		})
		// Before the next link ends: what is on its way is lost with it.
		e.eventually(e.limit(joiner), "it hears what it sent as soon as its driver was open, or attached", func() error { return said.heard(a) })
	}
	a.tap.setAttached(nil)
	if said.count() == 0 {
		e.Error("the driver sent nothing, neither before Serve nor once it was attached")
	}
}

func driverFrameLimit(e *env) {
	nodes := e.openAll("a", "b")
	a, b := nodes[0], nodes[1]
	_, caps := a.tap.driver()
	size := caps.MaxFrame
	if size == 0 {
		size = 2 << 20
	}
	ways := map[string]func(mark) error{"Broadcast": a.say}
	if caps.Send != nil {
		ways["Send"] = func(m mark) error { return a.tell(b.self.Instance, m) }
	}
	for way, send := range ways {
		whole, sent := e.mark(size), time.Time{}
		e.eventually(e.patience(), fmt.Sprintf("%s: a frame of %d bytes, which is Caps.MaxFrame or a size without limit, arrives whole", way, len(whole)), func() error {
			if b.tap.times(whole) > 0 {
				return nil
			}
			if time.Since(sent) > e.scaled(2*time.Second) { // best effort: again
				sent = time.Now()
				if err := send(whole); err != nil {
					return err
				}
			}
			return fmt.Errorf("it was sent and has not arrived; frames cut or lost at this size mean that Caps.MaxFrame (%d) is more than the transport takes", caps.MaxFrame)
		})
		if caps.MaxFrame == 0 {
			continue
		}
		if err := send(e.mark(size + 1)); !errors.Is(err, driver.ErrTooLarge) {
			e.Errorf("%s of a frame of %d bytes, a byte more than Caps.MaxFrame: %v, want ErrTooLarge", way, size+1, err)
		}
	}
}

func driverManySenders(e *env) {
	nodes := e.openAll("a", "b")
	a, b := nodes[0], nodes[1]
	const senders, each = 16, 8
	var marks []mark
	for i := range senders * each {
		marks = append(marks, e.mark(200+50*(i%40)))
	}
	rejected := b.metric(metricRejected)
	errs := make([]error, senders)
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for _, m := range marks[i*each:][:each] {
				if err := a.say(m); err != nil {
					errs[i] = err
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		e.Errorf("%d goroutines send at once: %v", senders, err)
	}
	e.eventually(e.patience(), "what they sent arrives", func() error {
		if n := len(b.tap.order(marks)); n < len(marks)/2 { // best effort
			return fmt.Errorf("%d of %d frames have arrived as they were sent", n, len(marks))
		}
		return nil
	})
	e.always(e.scaled(100*time.Millisecond), "no frame is damaged when many are sent at once; Broadcast is called from many goroutines, so the client needs a lock where its library has none", func() error {
		if n := b.metric(metricRejected) - rejected; n > 0 {
			return fmt.Errorf("%s was handed %v frames that nobody sent", b, n)
		}
		return nil
	})
}

func driverSendToOne(e *env) {
	nodes := []*node{e.open("a"), e.open("b"), e.open("b"), e.open("b.b")}
	e.agreed(nodes...)
	a, b, others := nodes[0], nodes[1], []*node{nodes[0], nodes[2], nodes[3]}
	_, caps := a.tap.driver()
	if caps.Send == nil {
		return // all hear what is for one
	}
	var marks []mark
	for range 20 {
		marks = append(marks, e.mark(300))
	}
	last := e.mark(300)
	for _, m := range marks {
		if err := a.tell(b.self.Instance, m); err != nil {
			e.Errorf("Send to %s: %v", b, err)
		}
	}
	for _, wild := range []string{"*", ">", "#", "+", "?", "%", "_", "", "..", "/", b.self.Instance + "/", "*" + b.self.Instance[1:], strings.ToUpper(b.self.Instance)} {
		m := e.mark(300)
		if err := a.tell(wild, m); err == nil && caps.Membership {
			e.Errorf("Send to the instance %q, which no member has, reports nothing; want ErrUnavailable", wild)
		}
		marks = append(marks, m)
	}
	nobody := "nobody" + strings.ToLower(b.self.Instance[6:])
	if err := a.tell(nobody, e.mark(300)); err == nil && caps.Membership || err != nil && !errors.Is(err, driver.ErrUnavailable) {
		e.Errorf("Send to %s, which is no member: %v, want ErrUnavailable: the portable layer asks another member then", nobody, err)
	}
	e.eventually(e.patience(), "what is for b arrives there", func() error {
		if b.tap.times(last) > 0 {
			return nil
		}
		err := a.tell(b.self.Instance, last) // best effort: again
		<-time.After(e.scaled(20 * time.Millisecond))
		return fmt.Errorf("not yet, and the last Send returned %v", err)
	})
	order := b.tap.order(marks)
	if !slices.IsSorted(order) {
		e.Errorf("%s was handed frames that were for it alone in the order %v; frames to one member arrive in order", b, order)
	}
	if len(order) == 0 || slices.Max(order) >= 20 {
		e.Errorf("%s was handed the frames %v; those from 20 on are for instances that it does not have", b, order)
	}
	for _, n := range others {
		if got := n.tap.order(marks); len(got) > 0 {
			e.Errorf("%s was handed the frames %v, which were for %s alone, or for nobody; is the address made of the instance, and escaped?", n, got, b)
		}
	}
}

// shortLinger is how long every run waits for what may still arrive, longestLinger how
// long the fault checks do.
const shortLinger, longestLinger = time.Second, time.Minute

func driverNothingStale(e *env) {
	nodes := e.openAll("a", "b")
	if linger := lingerOf(nodes[0]); linger > shortLinger {
		e.notChecked("frames may linger for %v, by Caps.Linger: see driver/nothing-older", linger)
		return
	}
	nothingStale(e, nodes[0], nodes[1])
}

func driverNothingOlder(e *env) {
	nodes := e.openAll("a", "b")
	switch linger := lingerOf(nodes[0]); {
	case linger <= shortLinger: // driver/nothing-stale has judged it
	case linger > longestLinger:
		e.notChecked("frames may linger for %v, by Caps.Linger, which is too long to wait for", linger)
	default:
		nothingStale(e, nodes[0], nodes[1])
	}
}

func lingerOf(n *node) time.Duration {
	_, caps := n.tap.driver()
	return caps.Linger
}

// nothingStale has a speak, and looks whether b, with another driver, or a new node is
// handed that once it cannot be on its way any more.
func nothingStale(e *env, a, b *node) {
	nodes, linger := []*node{a, b}, lingerOf(a)
	var old []mark
	for range 5 {
		m := e.mark(300)
		if err := a.say(m); err != nil {
			e.Fatalf("Broadcast: %v", err)
		}
		old = append(old, m)
	}
	e.eventually(e.limit(joiner), "b hears what a says", func() error {
		if len(b.tap.order(old)) == 0 {
			return errors.New("nothing yet")
		}
		return nil
	})
	e.always(linger+e.scaled(100*time.Millisecond), "all agree", func() error { return agree(nodes...) })
	again := len(b.tap.order(old))
	opens := b.tap.opened()
	b.tap.giveUp()
	e.eventually(e.limit(restart), "b has another driver", func() error {
		if b.tap.opened() == opens {
			return errors.New("not yet")
		}
		return agree(nodes...)
	})
	c := e.open("c")
	e.agreed(append(nodes, c)...)
	fresh := e.mark(300)
	e.eventually(e.limit(joiner), "b and c hear what a says now", func() error {
		if b.tap.times(fresh) > 0 && c.tap.times(fresh) > 0 {
			return nil
		}
		return errors.Join(errors.New("not yet"), a.say(fresh))
	})
	for n, had := range map[*node]int{b: again, c: 0} {
		if got := len(n.tap.order(old)); got > had {
			e.Errorf("%s was handed %d frames that were sent before it subscribed, though Caps.Linger is %v: a retained message, a replay from the start of a stream, or the queue of a session that outlived its node", n, got-had, linger)
		}
	}
}

func driverClosed(e *env) {
	nodes := e.openAll("a", "b", "c")
	a, b := nodes[0], nodes[1]
	var marks []mark
	for range 20 {
		m := e.mark(300)
		if err := b.say(m); err != nil {
			e.Errorf("Broadcast: %v", err)
		}
		marks = append(marks, m)
	}
	d, caps := b.tap.driver()
	b.close()
	e.eventually(e.limit(joiner), "what the driver accepted before Close is sent", func() error {
		if got := a.tap.order(marks); len(got) < len(marks) {
			return fmt.Errorf("%d of %d frames", len(got), len(marks))
		}
		return nil
	})
	e.reportsClosed(d, caps, a.self)
	nodes[2].close()

	// Close may come without Serve, and right after a send.
	warm := e.bare("d", nil)
	m := e.mark(300)
	err := warm.Broadcast(e.Context(), m)
	warm.end(e)
	if err == nil && !caps.Membership { // else it may know nobody yet
		e.eventually(e.limit(joiner), "what the driver accepted just before Close is sent", func() error {
			if a.tap.times(m) == 0 {
				return errors.New("it is not heard")
			}
			return nil
		})
	}
	a.close()
	before := measure()
	for range 3 {
		d := e.bare("d", nil)
		d.end(e)
		e.reportsClosed(d.Driver, d.Caps(), a.self)
	}
	e.leftNothing(before)
}

// reportsClosed checks what a driver says after Close.
func (e *env) reportsClosed(d driver.Driver, caps driver.Caps, to backend.Member) {
	e.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), e.scaled(atOnce))
	defer cancel()
	calls := map[string]func() error{"Broadcast": func() error { return d.Broadcast(ctx, e.mark(300)) }}
	if caps.Send != nil {
		calls["Send"] = func() error { return caps.Send(ctx, driver.Member{Instance: to.Instance}, e.mark(300)) }
	}
	for what, call := range calls {
		if err := call(); !errors.Is(err, driver.ErrClosed) {
			e.Errorf("%s after Close: %v, want what wraps ErrClosed", what, err)
		}
	}
}

// bareDriver is a driver without a node above it.
type bareDriver struct{ driver.Driver }

// bare opens one, or ends the check.
func (e *env) bare(name string, params map[string]string) bareDriver {
	e.Helper()
	d, err := e.openBare(context.Background(), name, params)
	if err != nil {
		e.Fatalf("open a driver: %v", err)
	}
	return bareDriver{d}
}

// openBare opens a driver with other parameters, or with those of a node.
func (e *env) openBare(ctx context.Context, name string, params map[string]string) (driver.Driver, error) {
	e.Helper()
	n, err := e.prepare(name, func(c *backend.Config) { c.Params = params })
	if err != nil {
		e.Fatal(err)
	}
	self := driver.Member{Name: name, Instance: "bare" + fmt.Sprint(n.ID)}
	return n.tap.inner(ctx, driver.Options{Cluster: e.cluster, Self: self, Params: n.config.Params, MaxBytes: 1 << 28, Logger: n.config.Logger})
}

func (d bareDriver) end(e *env) {
	e.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), e.scaled(closing))
	defer cancel()
	start := time.Now()
	if err := d.Close(ctx); err != nil || e.since(start) > e.scaled(closing) {
		e.Errorf("Close of a driver that never served took %v: %v", time.Since(start), err)
	}
}
