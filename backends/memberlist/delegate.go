package memberlist

import (
	"log/slog"
	"time"

	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// delegate is what memberlist calls. Most of it runs under memberlist's lock on
// its nodes, so none of it blocks or calls back.
type delegate struct {
	meta   []byte
	gate   *gate
	logger *slog.Logger
	roster *roster
	sender *sender
}

// maxState is below memberlist's limit for a state, 20 MiB, which with
// encryption includes the list of members.
const maxState = 19 << 20

func (d *delegate) NodeMeta(int) []byte { return d.meta }

// NotifyMsg handles a message of another member.
func (d *delegate) NotifyMsg(b []byte) {
	if len(b) > 0 && b[0] == controlMark {
		if len(b) > 1 && b[1] == controlAsk {
			d.sender.echo(string(b[2:]))
		} else {
			d.roster.control(b)
		}
		return
	}
	d.sender.relay(b)
	d.gate.do(func(h driver.Handler) { h.Frame(b) })
}

// GetBroadcasts returns what to add to a packet that leaves.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.sender.gossip.GetBroadcasts(overhead, limit)
}

// LocalState returns the full state for a join, since a newcomer needs it at
// once. Later the portable layer exchanges states that differ; only
// Alertmanagers depend on this exchange.
func (d *delegate) LocalState(join bool) []byte {
	if _, foreign := d.roster.kinds(); !join && len(foreign) == 0 {
		return nil
	}
	var state []byte
	d.gate.do(func(h driver.Handler) { state = h.LocalState() })
	if len(state) > maxState {
		d.logger.Warn("the state is too large for memberlist's own exchange, and is left out", "bytes", len(state), "limit", maxState)
		return nil
	}
	return state
}

// MergeRemoteState merges another member's full state.
func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	if len(b) > 0 {
		d.gate.do(func(h driver.Handler) { h.MergeState(b) })
	}
}

func (d *delegate) NotifyJoin(n *ml.Node) { d.roster.joined(newMember(n)) }

func (d *delegate) NotifyUpdate(n *ml.Node) { d.roster.joined(newMember(n)) }

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
		d.gate.do(func(h driver.Handler) { h.Probe(p.Name, rtt, nil) })
	}
}

var (
	_ ml.Delegate         = (*delegate)(nil)
	_ ml.EventDelegate    = (*delegate)(nil)
	_ ml.ConflictDelegate = (*delegate)(nil)
	_ ml.PingDelegate     = (*delegate)(nil)
)
