package memberlist

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"time"

	ml "github.com/hashicorp/memberlist"
)

// A ping without an answer does not show which direction is closed, and a stream
// that this host opens does not show whether one to it can be opened. So the
// observer asks, by a stream, for a packet and a stream: what arrives shows that the
// way back is open.

// The streams that a node opens because a stranger asks.
const (
	echoRate  = 2 // a second
	echoBurst = 8
)

// echo sends the requested packet, and then the stream, to addr. A stranger can make
// it send no more packets to another host than by memberlist's own indirect pings,
// and open few streams.
func (s *sender) echo(addr string) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil || !s.packets.Allow() {
		return
	}
	if err := s.mesh.list.SendToAddress(ml.Address{Addr: addr}, controlMessage(controlEcho, addr)); err != nil {
		s.logger.Debug("the packet of an echo was not sent", "to", addr, "err", err)
	}
	if !s.echoes.Allow() {
		return
	}
	s.wg.Go(func() {
		now := strconv.FormatInt(time.Now().UnixMicro(), 10)
		if err := s.mesh.list.SendReliable(nodeAt(to), controlMessage(controlStream, now)); err != nil {
			s.logger.Debug("the stream of an echo was not opened", "to", addr, "err", err)
		}
	})
}

func nodeAt(at netip.AddrPort) *ml.Node {
	return &ml.Node{Addr: at.Addr().AsSlice(), Port: at.Port()}
}

// listener is the delegate of an observer, which handles only echoes.
type listener struct {
	packets chan struct{}
	streams chan time.Time // what the clock of the node there showed
}

func newListener() listener { return listener{make(chan struct{}, 1), make(chan time.Time, 1)} }

// ask asks the node at addr for a packet and a stream to own.
func (l listener) ask(list *ml.Memberlist, addr string, own netip.AddrPort) error {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return err
	}
	return list.SendReliable(nodeAt(to), controlMessage(controlAsk, own.String()))
}

// heard reports whether a packet has arrived.
func (l listener) heard() bool {
	select {
	case <-l.packets:
		return true
	default:
		return false
	}
}

// await waits for a stream, and returns the time there.
func (l listener) await(ctx context.Context, limit time.Duration) (time.Time, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case there := <-l.streams:
		return there, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return time.Time{}, errors.New("it was asked to, and no connection of it has arrived")
}

func (l listener) NotifyMsg(b []byte) {
	if len(b) < 2 || b[0] != controlMark {
		return
	}
	switch b[1] {
	case controlEcho:
		select {
		case l.packets <- struct{}{}:
		default:
		}
	case controlStream:
		now, err := strconv.ParseInt(string(b[2:]), 10, 64)
		if err != nil {
			return
		}
		select {
		case l.streams <- time.UnixMicro(now):
		default:
		}
	}
}

func (listener) NodeMeta(int) []byte             { return nil }
func (listener) GetBroadcasts(_, _ int) [][]byte { return nil }
func (listener) LocalState(bool) []byte          { return nil }
func (listener) MergeRemoteState([]byte, bool)   {}

var _ ml.Delegate = listener{}
