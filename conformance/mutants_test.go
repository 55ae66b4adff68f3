// Some mutants race on purpose, which the race detector would count against the
// test; they are killed without it.

//go:build !race

package conformance

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// mutant is the memory backend, or the portable layer above it, with one fault.
type mutant struct {
	name    string
	check   string // that must fail
	backend string // registered in place of memory
	driver  func(driver.OpenFunc) driver.OpenFunc
	open    func(context.Context, backend.Config) (backend.ClusterChannel, error)
	real    bool // it holds a mutex for ever, for which virtual time does not go on
}

var mutants = []mutant{
	// Faults of a driver.
	{name: "alters bytes", check: "broadcast/any-bytes", driver: bend(frames(func(b []byte) [][]byte { return [][]byte{altered(b)} }))},
	{name: "delivers altered bytes, then the right ones", check: "broadcast/any-bytes", driver: bend(frames(func(b []byte) [][]byte { return [][]byte{altered(b), b} }))},
	{name: "truncates frames", check: "broadcast/reaches-others", driver: bend(cutMessages)},
	{name: "keeps the sender's buffer", check: "broadcast/buffer-not-kept", driver: bend(sendLater)},
	{name: "leaks a goroutine", check: "life/leaves-nothing", driver: bend(leakGoroutine)},
	{name: "leaks a descriptor", check: "life/leaves-nothing", driver: bend(leakDescriptor)},
	{name: "leaves a subscription", check: "life/leaves-nothing", driver: bend(leaveSubscription)},
	{name: "writes to stderr", check: "life/leaves-nothing", driver: bend(writeStderr)},
	{name: "ignores the cluster's name", check: "isolation/cluster-name", driver: bend(oneCluster)},
	{name: "listens to clusters of similar names", check: "isolation/foreign-data", driver: bend(cutCluster)},
	{name: "never attaches", check: "members/join", driver: bend(nothingIn)},
	{name: "one way link", check: "members/join", driver: bend(oneWay)},
	{name: "is slow", check: "members/join", driver: bend(slow)},
	{name: "loses large frames", check: "broadcast/size-matrix", driver: bend(loseOver(64 << 10))},
	{name: "claims a larger frame than it accepts", check: "broadcast/size-matrix", driver: bend(claimFrame)},
	{name: "loses nine frames of ten", check: "members/no-flap", driver: bend(loseMost)},
	{name: "blocks whatever its context says", check: "life/close-any-time", driver: bend(blockOnClose)},
	{name: "hangs in Open while the server is away", check: "life/ends-with-context", driver: hangInOpen},
	{name: "calls back after Serve", check: "life/close-any-time", driver: bend(callLate)},
	{name: "never ends Close", check: "life/close-any-time", driver: bend(hangClose)},
	{name: "never ends Serve", check: "life/close-any-time", driver: bend(hangServe)},
	{name: "stops serving without a reason", check: "fault/server-restart", driver: bend(stopServing)},
	{name: "accepts any parameter", check: "config/bad-params", driver: bend(anyParams)},
	{name: "shows the password in an address", check: "config/secrets", backend: "addressed", driver: showAddress},
	{name: "prints secrets", check: "config/bad-params", driver: bend(printSecret)},
	{name: "claims to be attached", check: "config/unreachable-degrades", driver: bend(fakeLink)},
	{name: "gives up after an outage", check: "fault/server-restart", driver: bend(giveUp)},
	{name: "gives up after a partition", check: "fault/partition-heal", driver: bend(giveUpOnSilence(false))},
	{name: "gives up when half open", check: "fault/half-open", driver: bend(giveUpOnSilence(true))},
	{name: "dies of a bad frame", check: "broadcast/bad-peer-bytes", driver: bend(dieOfBadFrame)},

	// Faults of the portable layer.
	{name: "leaves silently", check: "members/leave-is-prompt", open: closesInSilence},
	{name: "ignores the context of Open", check: "config/cancelled-context", open: func(_ context.Context, c backend.Config) (backend.ClusterChannel, error) {
		return backend.Open(context.Background(), c)
	}},
	{name: "opens an unknown backend", check: "config/unknown-backend", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		ch, err := backend.Open(ctx, c)
		if errors.Is(err, backend.ErrUnknownBackend) {
			err = errors.New("no such thing")
		}
		return ch, err
	}},
	{name: "has no metrics", check: "metrics/same-names", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		c.Registerer = nil
		return backend.Open(ctx, c)
	}},
	{name: "fails when the server is away", check: "config/unreachable-degrades", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		c.OnStartFailure = backend.Fail
		return backend.Open(ctx, c)
	}},
	{name: "mixes up the policies", check: "fault/long-outage", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		c.OnIsolation = backend.BecomeAlone
		return backend.Open(ctx, c)
	}},
	{name: "keeps no view", check: "fault/short-outage", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		c.Timing.Grace = c.Timing.Heartbeat
		return backend.Open(ctx, c)
	}},
	{name: "never exchanges periodically", check: "sync/anti-entropy", open: func(ctx context.Context, c backend.Config) (backend.ClusterChannel, error) {
		c.Timing.Sync = time.Hour
		return backend.Open(ctx, c)
	}},
	{name: "does not list itself", check: "members/self-at-once", open: views(func(v *backend.View) { v.Members = nil })},
	{name: "does not sort", check: "members/join", open: views(func(v *backend.View) { slices.Reverse(v.Members) })},
	{name: "gives a wrong index", check: "position/is-index-of-self", open: views(func(v *backend.View) { v.Position = 0 })},
	{name: "counts positions from 1", check: "position/dense-and-unique", open: views(func(v *backend.View) { v.Position = min(v.Position+1, len(v.Members)-1) })},
	{name: "hides name conflicts", check: "members/same-name-twice", open: views(func(v *backend.View) {
		if errors.Is(v.Err, backend.ErrNameConflict) {
			v.Err = nil
		}
	})},
	{name: "takes a name for a member", check: "members/same-name-twice", open: views(oneOfEachName)},
	{name: "always says attached", check: "fault/half-open", open: views(func(v *backend.View) {
		if v.Status == backend.Detached {
			v.Status = backend.Attached
		}
	})},
	{name: "freezes the position", check: "position/shifts-on-leave", open: freezeWhenShrinking},
	{name: "never drops the dead", check: "members/crash-is-detected", open: freezeWhenShrinking},
	{name: "keeps those who left", check: "members/rejoin-after-leave", open: freezeWhenShrinking},
	{name: "keeps those who crashed", check: "members/rejoin-after-crash", open: freezeWhenShrinking},
	{name: "shares its slices", check: "members/snapshot-is-a-copy", open: shareView},
	{name: "loses events", check: "members/events-match", open: decorated(func(c *bentChannel) { c.watchOnce = true })},
	{name: "is ready at once", check: "ready/waits-for-sync", open: decorated(func(c *bentChannel) { c.readyAtOnce = true })},
	{name: "ignores the context of WaitReady", check: "ready/waits-for-sync", open: decorated(func(c *bentChannel) { c.readyNoContext = true })},
	{name: "closes once only", check: "life/close-any-time", open: decorated(func(c *bentChannel) { c.closeOnce = true })},
	{name: "accepts payloads after Close", check: "life/close-any-time", open: broadcasts(func(c backend.Channel, b []byte) error {
		if err := c.TryBroadcast(b); !errors.Is(err, backend.ErrClosed) {
			return err
		}
		return nil
	})},
	{name: "echoes to the sender", check: "broadcast/reaches-others", open: decorated(func(c *bentChannel) { c.echo = true })},
	{name: "loses empty payloads", check: "broadcast/any-bytes", open: broadcasts(func(c backend.Channel, b []byte) error {
		if len(b) == 0 {
			return nil
		}
		return c.TryBroadcast(b)
	})},
	{name: "keeps the caller's buffer", check: "broadcast/buffer-not-kept", open: broadcasts(func(c backend.Channel, b []byte) error {
		time.AfterFunc(20*time.Millisecond, func() { c.Broadcast(b) })
		return nil
	})},
	{name: "loses some payloads for good", check: "broadcast/concurrent", open: decorated(func(c *bentChannel) {
		c.noState = true
		c.send = func(channel backend.Channel, b []byte) error {
			if b[len(b)-5] == 77 {
				return nil
			}
			return channel.TryBroadcast(b)
		}
	})},
	{name: "waits when the queue is full", check: "broadcast/never-blocks", open: broadcasts(func(c backend.Channel, b []byte) error {
		for deadline := time.Now().Add(2 * time.Second); ; {
			if err := c.TryBroadcast(b); !errors.Is(err, backend.ErrQueueFull) || time.Now().After(deadline) {
				return err
			}
			<-time.After(time.Millisecond)
		}
	})},
	{name: "is silent about a full queue", check: "broadcast/never-blocks", open: broadcasts(func(c backend.Channel, b []byte) error {
		if err := c.TryBroadcast(b); !errors.Is(err, backend.ErrQueueFull) {
			return err
		}
		return nil
	})},
	{name: "keeps what a full queue refused", check: "broadcast/never-blocks", open: keepsRefused},
	{name: "is silent about what is too large", check: "broadcast/size-matrix", open: broadcasts(func(c backend.Channel, b []byte) error {
		if err := c.TryBroadcast(b); !errors.Is(err, backend.ErrTooLarge) {
			return err
		}
		return nil
	})},
	{name: "loses its view under load", check: "position/steady-under-load", open: decorated(func(c *bentChannel) { c.loseUnderLoad = true })},
	{name: "merges on the caller's goroutine", check: "broadcast/reentrant", real: true, open: decorated(func(c *bentChannel) { c.inline = true })},
	{name: "sends an echo storm", check: "broadcast/reentrant", open: decorated(func(c *bentChannel) { c.storm = true })},
	{name: "takes for an echo what was ever merged", check: "broadcast/said-again", open: decorated(func(c *bentChannel) { c.echoForEver = true })},
	{name: "lets a slow state hold up others", check: "broadcast/slow-state", open: decorated(func(c *bentChannel) { c.oneAtATime = true })},
	{name: "mixes up keys", check: "broadcast/keys-apart", open: decorated(func(c *bentChannel) {
		c.key = func(k string) string { return strings.NewReplacer(".", ":", "*", ">").Replace(k) }
	})},
	{name: "merges one state at a time", check: "members/slow-merge-keeps-seat", open: decorated(func(c *bentChannel) { c.oneAtATime = true })},
	{name: "stops at the first bad state", check: "broadcast/one-bad-state", open: decorated(func(c *bentChannel) { c.stopAtError = true })},
	{name: "gives a joiner nothing", check: "sync/late-joiner", open: decorated(func(c *bentChannel) { c.noState = true })},
	{name: "gives a late state nothing", check: "sync/late-state", open: decorated(func(c *bentChannel) { c.noState = true })},
	{name: "accepts nothing from a joiner", check: "sync/both-ways", open: decorated(func(c *bentChannel) { c.noState = true })},
	{name: "repairs no gap", check: "sync/gap", driver: bend(loseKind(wire.Missing)), open: decorated(func(c *bentChannel) { c.noState = true })},
	{name: "loses large states", check: "sync/large", open: decorated(func(c *bentChannel) { c.noLargeState = true })},
	{name: "finds equal states different", check: "cost/equal-states", open: decorated(func(c *bentChannel) { c.neverEqual = true })},
	{name: "sends a joiner a state from each node", check: "cost/joiner", open: decorated(func(c *bentChannel) { c.allAnswer = true })},
	{name: "moves whole states", check: "entries/difference", driver: roster{}.of(), open: decorated(func(*bentChannel) {})},
	{name: "takes part in no walk", check: "entries/difference", driver: roster{hears: losesKind(wire.Walk)}.of()},
	{name: "counts entries in their order", check: "entries/order", driver: roster{}.of(), open: apart(func(s bentEntries) backend.State { return inOrder{s} })},
	{name: "loses large entries", check: "entries/large", driver: roster{}.of(), open: apart(func(s bentEntries) backend.State { return smallOnly{s} })},
	{name: "loses large frames to one", check: "entries/large", driver: roster{hears: losesOver(1 << 20)}.of()},
	{name: "begins anew with another source", check: "entries/source-dies", driver: roster{}.of(), open: apart(func(s bentEntries) backend.State { return forgetful{s} })},
	{name: "gives all for an entry that it lacks", check: "entries/lies", driver: roster{}.of(), open: apart(func(s bentEntries) backend.State { return generous{s} })},
	{name: "stops at the first bad entry", check: "entries/lies", driver: roster{}.of(), open: apart(func(s bentEntries) backend.State { return &offended{bentEntries: s} })},
	{name: "repairs nothing after a restart", check: "fault/server-emptied", driver: bend(loseKind(wire.Missing)), open: decorated(func(c *bentChannel) { c.noState = true })},
	{name: "starts alone", check: "fault/islands", open: thirdAlone()},
	{name: "names no disagreement", check: "views/one-way-link", open: views(func(v *backend.View) { v.Disputed = nil })},
	{name: "drops who is silent for a moment", check: "views/standstill", open: byEar(800*time.Millisecond, false)},
	{name: "brings back whom it hears", check: "views/contradiction", open: byEar(200*time.Millisecond, true)},
	{name: "names no state that is not ready", check: "ready/names-unready", open: views(func(v *backend.View) { v.Unready = nil })},
	{name: "waits for the limit with a state that is new", check: "ready/new-state", open: decorated(func(c *bentChannel) { c.newWaits = true })},
	{name: "is ready without what another one has", check: "ready/new-state", open: decorated(func(c *bentChannel) { c.noState = true })},
	{name: "counts nothing as lost", check: "sync/lost", open: hides(metricLost)},
	{name: "asks without end", check: "sync/lost", open: portable(askForEver)},
	{name: "passes on what it hears", check: "strangers/hostile-frames", open: portable(passOn)},
	{name: "is silent about strangers", check: "strangers/hostile-frames", open: hides(metricRejected)},
	{name: "answers whoever asks", check: "strangers/pulls", open: portable(answerAll)},
	{name: "removes nothing", check: "life/add-remove-state", open: decorated(func(c *bentChannel) { c.keepRemoved = true })},
}

// TestMutants runs for each mutant the one check that must find it, in virtual time:
// whatever else the machine does, a mutant dies of its fault.
func TestMutants(t *testing.T) {
	for _, m := range mutants {
		c := find(m.check)
		if c == nil {
			t.Errorf("%s: there is no check %q", m.name, m.check)
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			if m.real {
				m.mustDie(t, c)
				allEnd(t)
				return
			}
			synctest.Test(t, func(t *testing.T) {
				m.mustDie(t, c)
				for range 120 {
					endLeaks() // a check that was given up may go on, and leak more
					<-time.After(time.Second)
				}
			})
		})
	}
}

// allEnd ends what mutants have leaked, and waits for the checks that were given
// up as hanging.
func allEnd(t *testing.T) {
	deadline := time.Now().Add(time.Minute)
	for {
		endLeaks()
		err := goleak.Find(goleak.IgnoreTopFunction("github.com/clusterchannel/clusterchannel/conformance/internal/canary.(*Canary).run"))
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func (m mutant) mustDie(t *testing.T, c *check) {
	h := memoryHarness()
	h.limit = 15 * time.Second
	if m.real {
		h.limit = 5 * time.Second
	}
	h.channel = m.open
	h.Backend = cmp.Or(m.backend, h.Backend)
	if m.driver != nil {
		sound := h.Driver
		h.Driver = func(t testing.TB, n Node) driver.OpenFunc { return m.driver(sound(t, n)) }
	}
	q := &quiet{TB: t}
	if c.run(q, newSuite(t, h)) {
		t.Errorf("a backend that %s passes %s", m.name, m.check)
		return
	}
	t.Logf("%-45s x %-28s %s", m.name, m.check, q.first())
}

func TestEveryCheckHasAMutant(t *testing.T) {
	for _, c := range checks {
		if !slices.ContainsFunc(mutants, func(m mutant) bool { return m.check == c.name }) {
			t.Errorf("no mutant is meant for %s: it is not yet a check", c.name)
		}
	}
}
