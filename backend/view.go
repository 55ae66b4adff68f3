package backend

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// viewOf returns the core's view as users see it. Its slices and maps are the
// caller's.
func (n *node) viewOf(c *core.View) View {
	v := View{
		Members:  make([]Member, len(c.Members)),
		Position: c.Position,
		Status:   statusOf(c.Status),
		Since:    n.engine.began.Add(c.Since),
		Err:      n.viewError(c.Err),
		Ready:    readinessOf(c.Ready),
		Unready:  slices.Clone(c.Unready),
		Isolated: c.Isolated,
		Disputed: slices.Clone(c.Disputed),
		Epoch:    c.Epoch,
	}
	for i, m := range c.Members {
		v.Members[i] = Member(m)
		v.Members[i].Meta = maps.Clone(m.Meta)
	}
	if at := n.engine.closed.Load(); at != 0 {
		v.Status, v.Since, v.Err, v.Epoch = Closed, n.engine.began.Add(time.Duration(at)), nil, v.Epoch+1
	}
	return v
}

func statusOf(s core.Status) Status {
	if s == core.Attached {
		return Attached
	}
	return Detached
}

func readinessOf(r core.Readiness) Readiness {
	return [...]Readiness{core.Settling: Settling, core.Synced: Synced, core.Alone: Alone, core.TimedOut: TimedOut}[r]
}

// viewError says what is to be done about what the core finds.
func (n *node) viewError(err error) error {
	switch {
	case errors.Is(err, core.ErrNameConflict):
		return fmt.Errorf("%w: another live member is named %q too; both stay, at two positions; give one another name", ErrNameConflict, n.self.Name)
	case errors.Is(err, core.ErrDeaf):
		return fmt.Errorf("%w; the link is opened again", err)
	default:
		return err
	}
}

// published follows a change of the view.
func (n *node) published(v *core.View) {
	n.met.forgetMembers(v.Members)
	n.said.keep(v.Members)
	n.clocks.keep(v.Members)
	if v.Ready != core.Settling {
		n.readyOnce.Do(func() { close(n.ready) })
	}
}

func (n *node) healthScore() float64 {
	v := n.engine.view.Load()
	score := 0.0
	for _, ill := range []bool{
		v.Status != core.Attached,
		v.Err != nil && v.Status == core.Attached || len(v.Disputed) > 0 || len(n.allTroubles()) > 0,
		v.Ready == core.Settling || v.Ready == core.TimedOut || len(v.Unready) > 0,
	} {
		if ill {
			score++
		}
	}
	return score
}
