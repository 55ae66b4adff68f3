package memberlist

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// observation is what was seen of a mesh from outside.
type observation struct {
	advertise netip.AddrPort // the address that this node would tell the others
	busy      bool           // another process has the port of listen_address, most likely this node; advertise then has another port
	sights    []sight        // one for each address
	listen    netip.AddrPort
}

// isOwn reports whether this node itself listens at an address.
func (o observation) isOwn(at netip.AddrPort) bool {
	if at.Port() != o.listen.Port() {
		return false
	}
	return at.Addr() == o.listen.Addr() || at.Addr() == o.advertise.Addr() || o.listen.Addr().IsUnspecified() && isLocal(at.Addr())
}

// sight is what was seen at one address.
type sight struct {
	addr    string
	stream  error           // of an exchange of members over TCP or TLS: why there was none, with the likely cause
	packet  error           // of a ping by UDP, or TLS, and the answer to it at the advertise address: which of the two is lost, as far as can be told
	rtt     time.Duration   // of that ping
	asked   bool            // the node there was asked for a stream; an Alertmanager is not
	back    error           // of that stream, to the advertise address
	before  time.Time       // when it was asked
	there   time.Time       // what that node's clock showed then
	after   time.Time       // when the stream came
	members []driver.Member // the members that the node there holds alive
}

const (
	observedPings = 3 // a packet may be lost
	pingPatience  = time.Second
)

// observe asks the nodes at addrs, each an IP address and a port, what they
// know and whether they can answer this node. It does not become a member, and
// no other node learns of it. Its error is that of Open for the same options.
func observe(ctx context.Context, o driver.Options, addrs []string) (observation, error) {
	s, err := parse(o.Params, o.Cluster)
	if err != nil {
		return observation{}, err
	}
	if err := s.locate(ctx, systemResolver); err != nil {
		return observation{}, err
	}
	found := observation{listen: s.listen}
	t, busy, err := listenOrBeside(s, o)
	if err != nil {
		return observation{}, err
	}
	found.busy = busy
	s.listen = addrPort(s.listen.Addr(), t.port())
	if found.advertise, err = advertised(ctx, s.AdvertiseAddress, s.listen, systemResolver, o.Logger); err != nil {
		return found, errors.Join(err, t.Shutdown())
	}
	if err := t.Shutdown(); err != nil {
		return found, err
	}
	s.listen = found.listen
	for _, addr := range addrs {
		v := sight{addr: addr}
		if err := v.look(ctx, s, o); err != nil {
			return found, err
		}
		found.sights = append(found.sights, v)
	}
	return found, nil
}

// listenOrBeside listens where the node would, or at any port if that one is
// taken.
func listenOrBeside(s settings, o driver.Options) (t *transport, busy bool, err error) {
	t, err = listen(s, o.Logger, newLogger(o.Logger))
	if errors.Is(err, syscall.EADDRINUSE) {
		busy = true
		s.listen = netip.AddrPortFrom(s.listen.Addr(), 0)
		t, err = listen(s, o.Logger, newLogger(o.Logger))
	}
	return t, busy, err
}

// look asks one node. The observer leaves before it joins, so that others
// ignore it, and it starts no probes itself.
func (v *sight) look(ctx context.Context, s settings, o driver.Options) error {
	t, _, err := listenOrBeside(s, o)
	if err != nil {
		return err
	}
	s.listen = addrPort(s.listen.Addr(), t.port())
	if t.advertise, err = advertised(ctx, s.AdvertiseAddress, s.listen, systemResolver, o.Logger); err != nil {
		return errors.Join(err, t.Shutdown())
	}
	c := (&conn{mesh: mesh{settings: s, transport: t, trans: t}, self: o.Self, trans: t}).config(nil)
	echoes := newListener()
	c.Delegate, c.Events, c.Conflict, c.Ping, c.Alive, c.Merge = echoes, nil, nil, nil, nil, ours(clusterID(o.Cluster))
	c.GossipNodes, c.PushPullInterval, c.ProbeInterval = 0, 0, time.Hour
	c.ProbeTimeout = max(s.ProbeTimeout, pingPatience)
	list, err := ml.Create(c)
	if err != nil {
		return errors.Join(fmt.Errorf("memberlist: %w: %w", driver.ErrConfig, err), t.Shutdown())
	}
	t.start()
	if err := list.Leave(0); err != nil {
		return errors.Join(err, list.Shutdown())
	}
	defer context.AfterFunc(ctx, t.cancel)()
	_, err = list.Join([]string{v.addr})
	v.stream = reason(err)
	ask := func() {
		if v.stream == nil && v.ours(list.Members()) {
			v.asked, v.before = true, time.Now()
			_ = echoes.ask(list, v.addr, t.advertise) // then no echo arrives
		}
	}
	ask()
	if v.asked {
		v.there, v.back = echoes.await(ctx, pingPatience)
		v.after = time.Now()
	}
	v.ping(list, ask)
	if errors.As(v.packet, new(ml.NoPingResponseError)) {
		v.packet = v.blame(list, echoes, t)
	}
	for _, m := range list.Members() {
		v.members = append(v.members, newMember(m).Member)
	}
	slices.SortFunc(v.members, func(a, b driver.Member) int { return strings.Compare(nodeName(a), nodeName(b)) })
	return list.Shutdown()
}

// ping sends packets until one is answered. It calls missed after each that is
// not.
func (v *sight) ping(list *ml.Memberlist, missed func()) {
	for range observedPings {
		if v.rtt, v.packet = list.Ping("", stringAddr(v.addr)); v.packet == nil {
			return
		}
		missed()
	}
}

// ours reports whether the node there is an own one, which knows what an echo
// is.
func (v *sight) ours(members []*ml.Node) bool {
	mixed := false
	for _, m := range members {
		foreign := newMember(m).foreign
		if m.Address() == v.addr {
			return !foreign
		}
		mixed = mixed || foreign
	}
	return !mixed
}

// blame says in which direction packets are lost.
func (v *sight) blame(list *ml.Memberlist, echoes listener, t *transport) error {
	way := "UDP"
	if t.tls != nil {
		way = "TLS"
	}
	none := fmt.Sprintf("no answer to %d pings by %s", observedPings, way)
	switch {
	case v.stream != nil || !v.ours(list.Members()):
		return fmt.Errorf("%s: the pings or the answers are lost, or the peer refuses them", none)
	case echoes.heard():
		return fmt.Errorf("%s: what the peer sends arrives at %s, so what is sent to it is lost", none, t.advertise)
	}
	return fmt.Errorf("%s: what the peer sends to %s does not arrive there; fix that first, then see whether the peer hears this node", none, t.advertise)
}

// stringAddr is an address of memberlist's as its Ping takes it.
type stringAddr string

func (stringAddr) Network() string  { return "udp" }
func (a stringAddr) String() string { return string(a) }

var _ net.Addr = stringAddr("")
