package backend

import (
	"log/slog"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// note counts and logs what the core finds worth it.
func (n *node) note(o core.Note) {
	switch o.Kind {
	case core.NoteJoined, core.NoteLeft, core.NoteFailed, core.NoteUpdated, core.NoteConflict:
		n.noteMember(o)
	case core.NoteAttached, core.NoteReattached, core.NoteDetached, core.NoteDeaf, core.NoteIsolated,
		core.NoteStoodStill, core.NoteCaughtUp, core.NoteEcho, core.NoteRaised:
		n.noteLink(o)
	case core.NoteDisputed, core.NoteAgreed:
		n.noteView(o)
	case core.NoteReady, core.NoteTimedOut:
		n.noteReady(o)
	case core.NoteRejected:
		if o.Text == "pull" { // who asks may be known to others already, and soon here
			n.met.limited.WithLabelValues("strangers").Inc()
			return
		}
		n.reject(reasonOf(o.Text), "a message is not to be believed", "origin", o.Member.Instance, "reason", o.Text)
	default:
		n.noteRepair(o)
	}
}

func (n *node) noteMember(o core.Note) {
	m := o.Member
	switch o.Kind {
	case core.NoteJoined:
		n.met.joined.Inc()
		n.log.member(slog.LevelInfo, "member joined", "member", m.Name, "instance", m.Instance, "addr", m.Addr)
		if s, _ := n.link.current(); s != nil && s.caps.Membership {
			n.met.member(m.Name) // one series a member, from the start
		}
	case core.NoteLeft:
		n.met.left.Inc()
		n.log.member(slog.LevelInfo, "member left", "member", m.Name, "instance", m.Instance)
	case core.NoteFailed:
		n.met.failed.Inc()
		n.log.member(slog.LevelWarn, "member failed", "member", m.Name, "instance", m.Instance, "addr", m.Addr)
	case core.NoteUpdated:
		n.met.updated.Inc()
	case core.NoteConflict:
		n.met.conflicts.Inc()
		n.log.Warn("name conflict", "err", n.viewError(core.ErrNameConflict))
	}
}

func (n *node) noteLink(o core.Note) {
	switch o.Kind {
	case core.NoteAttached:
		n.log.Info("attached to the cluster")
	case core.NoteReattached:
		n.met.reconnects.Inc()
		n.log.Info("attached to the cluster again; comparing states")
	case core.NoteDetached:
		n.log.Warn("detached from the cluster", "err", o.Text)
	case core.NoteDeaf:
		n.met.pingFailures.Inc()
	case core.NoteIsolated:
		if o.Count > 0 {
			n.log.Warn("detached for longer than grace; this node is on its own now", "grace", n.cfg.Timing.Grace, "members_lost", o.Count)
		} else {
			n.log.Warn("detached for longer than grace", "grace", n.cfg.Timing.Grace, "on_isolation", n.cfg.OnIsolation)
		}
	case core.NoteStoodStill:
		n.met.standstills.Inc()
		n.log.Warn("this process stood still; what came meanwhile is merged before it acts", "for", o.Took.Round(time.Millisecond))
	case core.NoteCaughtUp:
		n.log.Info("what came meanwhile is merged", "took", o.Took.Round(time.Millisecond), "states_open", o.Count)
	case core.NoteEcho:
		n.met.pings.WithLabelValues("server").Observe(o.Took.Seconds())
	case core.NoteRaised:
		n.met.raised.Inc()
		n.log.warn("raised", "somebody speaks in this node's name; its numbers begin anew", "why", o.Text, "incarnation", o.Count)
	}
}

func (n *node) noteView(o core.Note) {
	switch o.Kind {
	case core.NoteDisputed:
		n.met.disputes.Inc()
		n.log.Warn("the members' views disagree", "member", o.Member.Name, "instance", o.Member.Instance, "what", o.Text)
	case core.NoteAgreed:
		n.log.Info("the members' views agree again", "member", o.Member.Name, "instance", o.Member.Instance)
	}
}

func (n *node) noteReady(o core.Note) {
	switch o.Kind {
	case core.NoteReady:
		n.log.Info("ready", "how", o.Text)
	case core.NoteTimedOut:
		n.log.Warn("ready without the state of the others: the settle limit passed", "settle", n.cfg.Timing.Settle, "states", o.Text)
	}
}

// noteRepair counts what is missing, and what is done about it.
func (n *node) noteRepair(o core.Note) {
	st := (*n.states.Load())[o.Key]
	switch o.Kind {
	case core.NoteGap:
		n.met.gaps.Inc()
		if st != nil {
			st.seen.gap()
		}
	case core.NoteLost:
		n.met.lost.Add(float64(o.Count))
		n.log.warn("lost:"+o.Key, "updates are lost: nobody who was asked has them; the periodic comparison goes on",
			"key", o.Key, "updates", o.Count, "member", o.Member.Name, "instance", o.Member.Instance)
	case core.NoteAskedAgain:
		n.met.askedAgain.Add(float64(o.Count))
	case core.NoteSentAgain:
		n.met.sentAgain.Add(float64(o.Count))
	case core.NoteExchange:
		n.met.resyncs.WithLabelValues(o.Text).Inc()
		n.log.Debug("comparing states", "member", o.Member.Name, "reason", o.Text, "states", o.Count)
	case core.NoteAnswered:
		n.log.Debug("answered with a state", "member", o.Member.Name, "key", o.Key, "bytes", o.Count)
	case core.NoteRefused:
		n.log.warn("refused:"+o.Key, "a state refuses what another member has", "key", o.Key, "member", o.Member.Name, "err", o.Text)
	case core.NoteLimited:
		n.met.limited.WithLabelValues(o.Text).Inc()
		n.log.warn("limited:"+o.Text, "a budget of the protocol is spent", "budget", o.Text, "member", o.Member.Name, "key", o.Key)
	}
}
