package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	amcluster "github.com/prometheus/alertmanager/cluster"
	commonconfig "github.com/prometheus/common/config"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/backends/memberlist"
)

// examineMemberlist asks each peer, as somebody who is gone already and so
// becomes no member.
func (d *doctor) examineMemberlist(ctx context.Context, config backend.Config) {
	var p memberlist.Params
	if err := params.Decode(config.Params, &p); err != nil {
		d.fail("configuration", "decode the parameters", err, "correct the key that is named")
		return
	}
	addrs := d.resolve(ctx, p.Peers)
	own, err := d.advertise(ctx, config)
	if err != nil {
		return
	}
	if len(p.Peers) == 0 {
		d.warn("peers", "read them", "none is configured: this node waits for others to find it", "name at least one other node as peer")
		return
	}
	names := map[string]bool{}
	for _, addr := range addrs {
		if at, err := netip.ParseAddrPort(addr); err == nil && own.IsOwn(at) {
			d.ok("peer", "compare "+addr, "this is the node itself")
			continue
		}
		d.examinePeer(ctx, config, p, addr, names)
	}
	if len(names) > 0 {
		d.members("ask the peers whom they take for alive", slices.Collect(maps.Keys(names)))
	}
}

// advertise says where the others would look for this node.
func (d *doctor) advertise(ctx context.Context, config backend.Config) (memberlist.Observation, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	const tried = "find the address to tell the others"
	found, err := memberlist.Observe(ctx, d.options(config), nil)
	switch {
	case err != nil:
		d.fail("advertise address", tried, err, mend(err, "give advertise_address: an address of this host, or an interface"))
	case found.Advertise.Addr().IsLoopback():
		d.warn("advertise address", tried, found.Advertise.Addr().String(), "only this host can reach it: give advertise_address, unless all nodes are on this host")
	case !ofThisHost(found.Advertise.Addr()):
		d.warn("advertise address", tried, found.Advertise.String()+", which no interface of this host has",
			"correct advertise_address, unless what is sent there is translated to this host; the answers to pings show it")
	case found.Busy:
		d.ok("advertise address", tried, fmt.Sprintf("%s; the port is taken, most likely by the node itself, so another one is used here", found.Advertise.Addr()))
	default:
		d.ok("advertise address", tried, found.Advertise.String())
	}
	return found, err
}

// ofThisHost tells whether an interface has an address, where that can be known.
func ofThisHost(addr netip.Addr) bool {
	all, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(all, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == addr.Unmap().WithZone("")
	})
}

// examinePeer goes from TCP to a ping that is answered.
func (d *doctor) examinePeer(ctx context.Context, config backend.Config, p memberlist.Params, addr string, names map[string]bool) {
	if len(d.reach(ctx, []string{addr})) == 0 {
		return
	}
	if p.TLSConfigFile != "" && !d.secure(ctx, []string{addr}, gossipTLS(p.TLSConfigFile), nil) {
		return
	}
	ctx, cancel := d.limit(ctx)
	defer cancel()
	found, err := memberlist.Observe(ctx, d.options(config), []string{addr})
	if err != nil {
		d.fail("gossip", "ask "+addr, err, mend(err, "try again"))
		return
	}
	for _, s := range found.Sights {
		d.sight(s, p, found)
		for _, m := range s.Members {
			names[m.Name] = true
		}
	}
}

// sight says what a peer has shown.
func (d *doctor) sight(s memberlist.Sight, p memberlist.Params, found memberlist.Observation) {
	tried := "exchange members with " + s.Addr
	if s.Stream != nil {
		d.fail("gossip", tried, s.Stream, mendGossip(s.Stream))
		return
	}
	d.ok("gossip", tried, fmt.Sprintf("it knows %d alive; label and keys agree", len(s.Members)))
	way := "udp"
	if p.TLSConfigFile != "" {
		way = "packets over tls"
	}
	tried = fmt.Sprintf("ping %s, which answers to %s", s.Addr, found.Advertise.Addr())
	if s.Packet != nil {
		d.fail(way, tried, s.Packet, "let "+way+" through both ways between all nodes, at the port of listen_address; "+
			"the answer goes to the advertise address, which the peer must be able to reach")
		return
	}
	d.ok(way, tried, "answered after "+s.RTT.Round(10*time.Microsecond).String())
}

// mendGossip says what the reason asks for.
func mendGossip(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "label mismatch"):
		return "give all nodes the same label, the same encryption_keys, and TLS on all or none; the log of the peer names which of them it refused"
	case strings.Contains(text, "encrypt"):
		return "give all nodes the same encryption_keys, the first of which encrypts"
	case strings.Contains(text, "x509"), strings.Contains(text, "tls:"):
		return "mind the certificates: the peer's must be signed by an authority of tls_client_config, and this node's by one of its tls_server_config"
	}
	return "see the log of the peer at this minute"
}

// gossipTLS returns what a client is set to by Alertmanager's file.
func gossipTLS(file string) func(host string) (*tls.Config, error) {
	return func(host string) (*tls.Config, error) {
		c, err := amcluster.GetTLSTransportConfig(file)
		if err != nil {
			return nil, err
		}
		if c.TLSClientConfig == nil {
			return nil, errors.New(file + " has no tls_client_config")
		}
		t, err := commonconfig.NewTLSConfig(c.TLSClientConfig)
		if err != nil {
			return nil, err
		}
		if t.ServerName == "" {
			t.ServerName = host
		}
		return t, nil
	}
}
