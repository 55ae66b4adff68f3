package memberlist

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// examine is the backend's driver.ExamineFunc. It asks each peer, as a node
// that has already left and so becomes no member.
func examine(ctx context.Context, e driver.Examination) {
	s, err := parse(e.Params, e.Cluster)
	if err != nil {
		e.Fail("configuration", "decode the parameters", err, doctor.Advice(err, ""))
		return
	}
	addrs := doctor.Resolve(ctx, e, s.Peers)
	own, err := examineOwn(ctx, e)
	if err != nil {
		return
	}
	if len(s.Peers) == 0 {
		e.Warn("peers", "read them", "none is configured: this node waits for others to find it", "name at least one other node as peer")
		return
	}
	names, others := map[string]bool{}, 0
	for _, addr := range addrs {
		if at, err := netip.ParseAddrPort(addr); err == nil && own.isOwn(at) {
			e.OK("peer", "compare "+addr, "this is the node itself")
			continue
		}
		others++
		for _, m := range examinePeer(ctx, e, s, addr) {
			names[m.Name] = true
		}
	}
	if len(addrs) > 0 && others == 0 {
		e.Warn("peers", "compare them with this node", "all are the node itself", "name at least one other node as peer, or a name that resolves to all; "+
			"a name that others appear under later is looked up again")
	}
	if len(names) > 0 {
		doctor.Members(e, "ask the peers which members they hold alive", slices.Collect(maps.Keys(names)))
	}
}

// examineOwn reports where the others would look for this node.
func examineOwn(ctx context.Context, e driver.Examination) (observation, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	const name, tried = "advertise address", "find the address to tell the others"
	found, err := observe(ctx, e.Options, nil)
	switch at := found.advertise; {
	case err != nil:
		e.Fail(name, tried, err, doctor.Advice(err, "give advertise_address: an address of this host, or an interface"))
	case at.Addr().IsLoopback():
		e.Warn(name, tried, at.Addr().String(), "only this host can reach it: give advertise_address, unless all nodes are on this host")
	case !isOfThisHost(at.Addr()):
		e.Warn(name, tried, at.String()+", which no interface of this host has",
			"correct advertise_address, unless what is sent there is translated to this host; the answers to pings show it")
	case found.busy:
		e.OK(name, tried, fmt.Sprintf("%s; the port is taken, so another one is used here", at.Addr()))
	default:
		e.OK(name, tried, at.String())
	}
	if err == nil && found.busy {
		examineBusy(ctx, e, found)
	}
	return found, err
}

// examineBusy finds out who has the port that this node would listen on.
func examineBusy(ctx context.Context, e driver.Examination, own observation) {
	at := own.listen
	if at.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(own.advertise.Addr(), at.Port())
	}
	tried := "ask who listens on " + at.String()
	fix := fmt.Sprintf("\"ss -lntup 'sport = :%d'\" names the program: stop it, or choose another port", at.Port())
	found, err := observe(ctx, e.Options, []string{at.String()})
	if err != nil {
		e.Fail("port", tried, err, fix)
		return
	}
	v := found.sights[0]
	names := make([]string, len(v.members))
	for i, m := range v.members {
		names[i] = m.Name
		if m.Name == e.Self.Name && m.Addr == at.String() {
			e.OK("port", tried, "the node itself")
			return
		}
	}
	if v.stream == nil {
		e.Warn("port", tried, "a member of this cluster with another name; there are "+strings.Join(names, ", "),
			"if that is not the node itself, whose name is to be given here too, stop it or choose another port")
		return
	}
	who := "no member of this cluster"
	if strings.HasSuffix(v.stream.Error(), syscall.ECONNREFUSED.Error()) {
		who = "nobody by TCP, so another program has the port for UDP"
	}
	e.Fail("port", tried, fmt.Errorf("%s: %w", who, v.stream), fix)
}

// isOfThisHost reports whether an interface has an address, where that can be
// known.
func isOfThisHost(addr netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(all, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == addr.Unmap().WithZone("")
	})
}

// examinePeer tries TCP, an exchange and a ping, and returns the members that
// the peer holds alive.
func examinePeer(ctx context.Context, e driver.Examination, s settings, addr string) []driver.Member {
	if len(doctor.Reach(ctx, e, []string{addr})) == 0 {
		return nil
	}
	if s.TLSConfigFile != "" && !doctor.Secure(ctx, e, []string{addr}, s.clientTLS, nil) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	found, err := observe(ctx, e.Options, []string{addr})
	if err != nil {
		e.Fail("gossip", "ask "+addr, err, doctor.Advice(err, "try again"))
		return nil
	}
	var members []driver.Member
	for _, v := range found.sights {
		v.report(e, s.TLSConfigFile != "", found)
		members = append(members, v.members...)
	}
	return members
}

// report writes what was found out about a peer.
func (v *sight) report(e driver.Examination, encrypted bool, by observation) {
	own := by.advertise.Addr()
	tried := "exchange members with " + v.addr
	if v.stream != nil {
		e.Fail("gossip", tried, v.stream, fixStream(v.stream))
		return
	}
	e.OK("gossip", tried, fmt.Sprintf("it knows %d alive; label and keys agree", len(v.members)))
	if v.asked {
		v.reportBack(e, by)
	}
	way := "udp"
	if encrypted {
		way = "packets over tls"
	}
	tried = fmt.Sprintf("ping %s, which answers to %s", v.addr, own)
	if v.packet != nil {
		e.Fail(way, tried, v.packet, "let "+way+" through both ways between all nodes, at the port of listen_address; "+
			"the answer goes to the advertise address, which the peer must be able to reach")
		return
	}
	e.OK(way, tried, "answered after "+max(0, v.rtt).Round(10*time.Microsecond).String())
}

// reportBack writes what came of the stream that the peer was asked for.
func (v *sight) reportBack(e driver.Examination, by observation) {
	tried := fmt.Sprintf("have %s connect to %s", v.addr, by.advertise.Addr())
	switch {
	case v.back != nil && by.busy:
		e.Skip("tcp", tried, v.back.Error(), "this is no fault: the node has its own port, and the other one that is used here may be closed; stop the node to try its own")
		return
	case v.back != nil:
		e.Fail("tcp", tried, v.back, "let TCP through from "+v.addr+" to this host, at the port of listen_address, and see that the advertise address leads here; "+
			"\"nft list ruleset\" shows this host's firewall")
		return
	}
	e.OK("tcp", tried, fmt.Sprintf("connected after %v", v.after.Sub(v.before).Round(10*time.Microsecond)))
	doctor.CompareClocks(e, v.addr, v.before, v.there, v.after)
}

// fixStream says what to do about the reason.
func fixStream(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, errOtherCluster.Error()):
		return "give all nodes of a cluster the same name of the cluster, and the nodes of another cluster another label"
	case strings.Contains(text, "label mismatch"):
		return "give all nodes the same label, the same encryption_keys, and TLS on all or none; the log of the peer names which of them it refused"
	case strings.Contains(text, "encrypt"):
		return "give all nodes the same encryption_keys, the first of which encrypts"
	case strings.Contains(text, "x509"), strings.Contains(text, "tls:"):
		return "check the certificates: the peer's must be signed by an authority of tls_client_config, and this node's by one of its tls_server_config"
	}
	return "see the log of the peer at this minute"
}

// clientTLS returns the TLS configuration for a peer on host.
func (s settings) clientTLS(host string) (*tls.Config, error) {
	_, client, err := s.tls.configs()
	if err != nil {
		return nil, err
	}
	if client.ServerName == "" {
		client.ServerName = host
	}
	return client, nil
}
