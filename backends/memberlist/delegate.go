package memberlist

import (
	"fmt"
	"log/slog"
	"time"

	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// delegate is what memberlist calls. Most of it runs under memberlist's lock on
// its nodes, so none of it blocks or calls back.
type delegate struct {
	meta    []byte
	cluster uint64
	gate    *gate
	logger  *slog.Logger
	roster  *roster
	sender  *sender
}

// maxState is below memberlist's limit for a state, 20 MiB, which with
// encryption includes the list of members.
const maxState = 19 << 20

func (d *delegate) NodeMeta(int) []byte { return d.meta }

// NotifyMsg handles a message of another member.
func (d *delegate) NotifyMsg(b []byte) {
	if len(b) > 0 && b[0] == controlMark {
		d.control(b)
		return
	}
	d.sender.relay(b)
	d.gate.do(func(h driver.Handler) { h.Frame(b) })
}

// control handles a message between own drivers.
func (d *delegate) control(b []byte) {
	if len(b) < 3 {
		return
	}
	switch b[1] {
	case controlBundle:
		if err := unbundle(b, d.NotifyMsg); err != nil {
			d.gate.do(func(h driver.Handler) { h.Reject(driver.Malformed, err) })
		}
	case controlAsk:
		d.sender.echo(string(b[2:]))
	case controlForward:
		d.sender.passOn(b)
	case controlDirect:
		d.gate.do(func(h driver.Handler) { h.Frame(b[2:]) })
	case controlWitness:
		d.roster.witness(b)
	case controlRelay:
		d.roster.reacher(b)
	default:
		d.roster.control(b)
	}
}

// GetBroadcasts returns what to add to a packet that leaves.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.sender.gossip.GetBroadcasts(overhead, limit)
}

// LocalState returns the full state while there are Alertmanagers, which depend on
// this exchange. Own nodes exchange states that differ by the portable layer, each
// once.
func (d *delegate) LocalState(bool) []byte {
	if _, foreign := d.roster.kinds(); len(foreign) == 0 {
		return nil
	}
	var state []byte
	d.gate.do(func(h driver.Handler) { state = h.LocalState() })
	state = sealed(state, d.cluster)
	if len(state) > maxState {
		d.logger.Warn("the state is too large for memberlist's own exchange, and is left out", "bytes", len(state), "limit", maxState)
		return nil
	}
	return state
}

// MergeRemoteState merges another member's full state.
func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	if len(b) == 0 {
		return
	}
	if err := checkSeal(b, d.cluster); err != nil {
		d.gate.do(func(h driver.Handler) { h.Reject(driver.Foreign, err) })
		return
	}
	d.gate.do(func(h driver.Handler) { h.MergeState(b) })
}

// NotifyAlive refuses the nodes of other clusters, whoever tells of them.
func (d *delegate) NotifyAlive(n *ml.Node) error {
	p := newMember(n)
	if p.foreign || p.cluster == d.cluster {
		if d.roster.crowded(n.Name) {
			d.gate.do(func(h driver.Handler) { h.Reject(driver.Overflow, errCrowded) })
			return errCrowded
		}
		return nil
	}
	d.gate.do(func(h driver.Handler) { h.Reject(driver.Foreign, otherCluster(p)) })
	return errOtherCluster
}

// maxMembers is how many others are believed: a stranger with the label, or a key, can
// invent them.
const maxMembers = 4096

var errCrowded = fmt.Errorf("there are %d members: no more are believed", maxMembers)

// NotifyMerge refuses the list of a node that knows nobody of this cluster, and no
// Alertmanager, which is of any.
func (d *delegate) NotifyMerge(all []*ml.Node) error { return ours(d.cluster).NotifyMerge(all) }

func (d *delegate) NotifyJoin(n *ml.Node) {
	p := newMember(n)
	d.roster.joined(p)
	d.sender.readdress(p)
}

func (d *delegate) NotifyUpdate(n *ml.Node) { d.NotifyJoin(n) }

// NotifyLeave is called when a node left or failed; the state in n does not say
// which.
func (d *delegate) NotifyLeave(n *ml.Node) { d.roster.lost(n.Name) }

// NotifyConflict is called when a node claims another address than memberlist
// has for it; memberlist keeps the one it has.
func (d *delegate) NotifyConflict(existing, other *ml.Node) {
	if d.roster.moved(newMember(other)) {
		d.logger.Info("a failed member is back at another address",
			"member", existing.Name, "was", existing.Address(), "addr", other.Address())
		return
	}
	d.logger.Warn("two nodes have the same name and instance; a node may have been cloned while it ran, or its host's address has changed",
		"node", existing.Name, "at", existing.Address(), "and at", other.Address())
}

func (d *delegate) AckPayload() []byte { return nil }

func (d *delegate) NotifyPingComplete(other *ml.Node, rtt time.Duration, _ []byte) {
	if p := d.roster.answered(other.Name); p != nil {
		d.sender.answered(p, rtt)
		d.gate.do(func(h driver.Handler) { h.Probe(p.Name, rtt, nil) })
	}
}

var (
	_ ml.Delegate         = (*delegate)(nil)
	_ ml.EventDelegate    = (*delegate)(nil)
	_ ml.ConflictDelegate = (*delegate)(nil)
	_ ml.PingDelegate     = (*delegate)(nil)
	_ ml.AliveDelegate    = (*delegate)(nil)
	_ ml.MergeDelegate    = (*delegate)(nil)
)
