package status

import (
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Snapshot is what the page and its JSON show of a node at one time. Times are
// by this node's clock; a time that is absent has not come yet.
type Snapshot struct {
	Title    string    `json:"title"`
	Enabled  bool      `json:"enabled"` // whether there is a cluster at all
	Summary  Summary   `json:"summary"`
	Node     Node      `json:"node"`
	Members  []Member  `json:"members"` // in the order of their positions
	States   []State   `json:"states"`
	Counters []Counter `json:"counters"`
	Charts   []Chart   `json:"charts"`
	Events   []Event   `json:"events"` // the newest first
}

// Node is this node.
type Node struct {
	Name     string     `json:"name"`
	Instance string     `json:"instance"`
	Position int        `json:"position"`
	Place    string     `json:"place"`  // the position in words
	Status   string     `json:"status"` // attached, detached or closed
	Since    *time.Time `json:"since,omitempty"`
	Why      string     `json:"why,omitempty"` // why detached, or what else is wrong
	Ready    string     `json:"ready"`
	Epoch    uint64     `json:"epoch"`
	Cluster  string     `json:"cluster"`
	Backend  string     `json:"backend"`
	Link     string     `json:"link"` // how members are known, and the largest frame
}

// Member is one member, this node included.
type Member struct {
	Position int               `json:"position"`
	Name     string            `json:"name"`
	Instance string            `json:"instance"` // empty for a foreign member
	Addr     string            `json:"addr,omitempty"`
	Meta     map[string]string `json:"meta,omitempty"`
	Self     bool              `json:"self"`
	RTT      *float64          `json:"rtt,omitempty"`  // seconds, the mean of the round trips to it, or for this node to the server
	Said     string            `json:"said,omitempty"` // the last thing
	SaidAt   *time.Time        `json:"said_at,omitempty"`
}

// State is one replicated state.
type State struct {
	Key       string     `json:"key"`
	Size      int        `json:"size"` // bytes, when it was last marshalled
	SizeAt    *time.Time `json:"size_at,omitempty"`
	Digest    string     `json:"digest,omitempty"`
	Exchanged *time.Time `json:"exchanged,omitempty"` // when it was last compared with another member's
	Resyncs   uint64     `json:"resyncs"`             // how often this node asked another member for it
	Gaps      uint64     `json:"gaps"`                // of these because updates were missing
	Queued    int        `json:"queued"`
	Dropped   float64    `json:"dropped"`
	Errors    float64    `json:"errors"`
}

// look takes a snapshot. It does no I/O.
func (p *Page) look() Snapshot {
	s := Snapshot{Title: p.opts.Title, Enabled: p.opts.Channel != nil, Members: []Member{}, States: []State{}, Counters: []Counter{}, Charts: []Chart{}, Events: []Event{}}
	if !s.Enabled {
		return s
	}
	v := p.opts.Channel.View()
	var i backend.Inspection
	inspector, ok := p.opts.Channel.(backend.Inspector)
	if ok {
		i = inspector.Inspect()
	}
	now := time.Now()
	s.Summary = summarize(v, i, p.absent.list(now), p.opts.Act)
	s.Node = nodeOf(v, i, ok)
	s.Node.Place = place(v, p.opts.Act)
	figures := gather(p.opts.Gatherer, i.Cluster)
	for position, m := range v.Members {
		member := memberOf(position, m, v, i)
		member.RTT = figures.roundTrip(m.Name)
		s.Members = append(s.Members, member)
	}
	for _, st := range i.States {
		s.States = append(s.States, stateOf(st, figures))
	}
	s.Counters = append(s.Counters, figures.counters()...)
	if p.opts.Gatherer != nil {
		p.past.add(figures, now)
		s.Charts = p.past.charts()
	}
	s.Events = append(s.Events, p.events.latest()...)
	return s
}

func nodeOf(v backend.View, i backend.Inspection, inspected bool) Node {
	self := v.Self()
	n := Node{
		Name: self.Name, Instance: self.Instance, Position: v.Position, Status: v.Status.String(), Since: given(v.Since),
		Ready: v.Ready.String(), Epoch: v.Epoch, Cluster: i.Cluster, Backend: i.Backend,
	}
	if v.Err != nil {
		n.Why = v.Err.Error()
	}
	if inspected {
		n.Link = linkOf(i)
	}
	return n
}

func linkOf(i backend.Inspection) string {
	link := "members by heartbeat"
	if i.Native {
		link = "members by the transport"
	}
	if i.MaxFrame > 0 {
		link += fmt.Sprintf(", frames of up to %d bytes", i.MaxFrame)
	}
	return link
}

func memberOf(position int, m backend.Member, v backend.View, i backend.Inspection) Member {
	out := Member{Position: position, Name: m.Name, Instance: m.Instance, Addr: m.Addr, Meta: m.Meta, Self: position == v.Position}
	if said, ok := i.Said[m.Instance]; ok && !out.Self {
		out.Said, out.SaidAt = said.What, given(said.At)
		if said.Key != "" {
			out.Said += " of " + said.Key
		}
	}
	return out
}

func stateOf(st backend.StateInfo, f figures) State {
	out := State{
		Key: st.Key, Size: st.Size, SizeAt: given(st.SizeAt), Exchanged: given(st.Exchanged), Resyncs: st.Resyncs, Gaps: st.Gaps, Queued: st.Queued,
		Dropped: f.by("clusterchannel_dropped_total", "key", st.Key), Errors: f.by("clusterchannel_state_errors_total", "key", st.Key),
	}
	if !st.DigestAt.IsZero() {
		out.Digest = fmt.Sprintf("%016x", st.Digest)
	}
	return out
}

func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}
