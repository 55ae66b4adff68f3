package memberlist

import (
	"net/netip"

	ml "github.com/hashicorp/memberlist"
)

// A ping without an answer does not show which direction is closed. So the
// observer asks, by a stream, for a packet: if it arrives, the way back is
// open.

// echo sends the requested packet to addr. A stranger can make it send no more
// to another host than by memberlist's own indirect pings.
func (s *sender) echo(addr string) {
	if _, err := netip.ParseAddrPort(addr); err != nil || !s.packets.Allow() {
		return
	}
	if err := s.mesh.list.SendToAddress(ml.Address{Addr: addr}, controlMessage(controlEcho, addr)); err != nil {
		s.logger.Debug("the packet of an echo was not sent", "to", addr, "err", err)
	}
}

// listener is the delegate of an observer, which handles only echoes.
type listener chan struct{}

// ask asks the node at addr to send a packet to own.
func (l listener) ask(list *ml.Memberlist, addr string, own netip.AddrPort) error {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	return list.SendReliable(&ml.Node{Addr: to.Addr().AsSlice(), Port: to.Port()}, controlMessage(controlAsk, own.String()))
}

// heard reports whether an echo has arrived.
func (l listener) heard() bool {
	select {
	case <-l:
		return true
	default:
		return false
	}
}

func (l listener) NotifyMsg(b []byte) {
	if len(b) > 1 && b[0] == controlMark && b[1] == controlEcho {
		select {
		case l <- struct{}{}:
		default:
		}
	}
}

func (listener) NodeMeta(int) []byte             { return nil }
func (listener) GetBroadcasts(_, _ int) [][]byte { return nil }
func (listener) LocalState(bool) []byte          { return nil }
func (listener) MergeRemoteState([]byte, bool)   {}

var _ ml.Delegate = listener(nil)
