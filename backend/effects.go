package backend

import (
	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// stateReady says that a state is ready, or that its limit has passed.
type stateReady struct{ state *state }

// adopt makes of an effect what can be carried out later. It is called under the
// core's lock.
func (n *node) adopt(f core.Effect) any {
	switch f := f.(type) {
	case core.Resend: // what it holds is valid now only
		return n.encodeAgain(f)
	case core.StateReady: // of the state that has the key now
		if st := (*n.states.Load())[f.Key]; st != nil {
			return stateReady{st}
		}
		return nil
	default:
		return f
	}
}

// carryOut does what the core wants done. It does not block on the network, nor on
// a state.
func (n *node) carryOut(f any) {
	switch f := f.(type) {
	case core.Send:
		n.send(f.To, f.Message)
	case resent:
		n.sendAgain(f)
	case core.Marshal:
		n.marshalFor(f)
	case core.Fetch:
		n.fetchFor(f)
	case core.Merge:
		n.mergeFor(f)
	case core.Reopen:
		n.link.replace()
	case core.Publish:
		n.published(f.View)
	case stateReady:
		f.state.becomeReady()
	case core.Closed:
		close(n.left)
	case core.Note:
		n.note(f)
	}
}
