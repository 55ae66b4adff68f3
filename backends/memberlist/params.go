package memberlist

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// Params are the keys of the block of parameters.
type Params struct {
	// ListenAddress is the address and the port to listen on, TCP and UDP: an IP
	// address, a name of this host or of one of its network interfaces, or nothing
	// for all of its IPv4 addresses. The port 0 is any free one, which only makes
	// sense where others are named as peers.
	ListenAddress string `param:"listen_address" alias:"address" default:"0.0.0.0:9094"`

	// AdvertiseAddress is where the others reach this node: an IP address, a name,
	// or the name of a network interface, with a port if it differs from that of
	// ListenAddress. Empty means the address listened on, or this host's first
	// private one if that is unspecified.
	AdvertiseAddress string `param:"advertise_address"`

	// Peers are some of the nodes to join, as host:port; one that answers is
	// enough. A name stands for all its A and AAAA records. This node's own address
	// may be among them.
	Peers []string `param:"peers"`

	// PeersResolveInterval is how often the names among Peers are looked up. While
	// no other member is known they are looked up every ReconnectInterval.
	PeersResolveInterval time.Duration `param:"peers_resolve_interval" default:"5s"`

	// Label marks all traffic; the node refuses traffic with another label. The
	// default is the cluster's name. A label given as the empty text means none,
	// as with an Alertmanager without --cluster.label.
	Label string `param:"label"`

	// GossipInterval is how often recent updates and changes of members are
	// repeated, to three random members.
	GossipInterval time.Duration `param:"gossip_interval" default:"200ms"`

	// ProbeInterval is how often this node probes one of the others. A host that
	// vanishes is seen within five of them; a process that ends refuses connections
	// and is seen at the first probe.
	ProbeInterval time.Duration `param:"probe_interval" default:"1s"`

	// ProbeTimeout is how long the answer to a probe may take before other members
	// are asked to probe: above the longest round trip. It counts as ProbeInterval
	// where it is longer.
	ProbeTimeout time.Duration `param:"probe_timeout" default:"500ms"`

	// PushPullInterval is how often this node exchanges its list of members, and
	// its full state where Alertmanagers are among them, with a random member.
	PushPullInterval time.Duration `param:"push_pull_interval" default:"60s"`

	// TCPTimeout bounds what is sent over one TCP connection.
	TCPTimeout time.Duration `param:"tcp_timeout" default:"10s"`

	// ReconnectInterval is how often a peer, or a failed member, that does not
	// answer is tried, for ever. Above ten members it stretches in proportion. Failed
	// members that are no peers are tried in turn, at least four, or a quarter of them, at a time.
	ReconnectInterval time.Duration `param:"reconnect_interval" default:"1s"`

	// EncryptionKeys are keys for AES, base64 of 16, 24 or 32 bytes. The first one
	// encrypts, all of them decrypt.
	EncryptionKeys []string `param:"encryption_keys" secret:"true"`

	// EncryptionVerifyIncoming refuses what is not encrypted, and
	// EncryptionVerifyOutgoing encrypts. To turn encryption on without an outage:
	// first both false, then outgoing true, then both, one round over all nodes
	// each.
	EncryptionVerifyIncoming bool `param:"encryption_verify_incoming" default:"true"`
	EncryptionVerifyOutgoing bool `param:"encryption_verify_outgoing" default:"true"`

	// TLSConfigFile is a file for Alertmanager's --cluster.tls-config. With it all
	// traffic is TLS over TCP.
	TLSConfigFile string `param:"tls_config_file"`

	// DirectLimit is the number of other members up to which a broadcast goes
	// straight to each; see Delivery.
	DirectLimit int `param:"direct_limit" default:"256"`
}

// settings are checked parameters.
type settings struct {
	Params
	listen     netip.AddrPort
	listenHost string // the name that locate is to look up; empty where listen is complete
	keys       *ml.Keyring
	tls        *tlsFile
}

func parse(raw map[string]string, cluster string) (settings, error) {
	var s settings
	if err := params.Decode(raw, &s.Params); err != nil {
		return s, err
	}
	if _, given := raw["label"]; !given {
		s.Label = cluster
	}
	if len(s.Label) > ml.LabelMaxSize {
		return s, params.Bad("label", "has %d bytes; at most %d are valid", len(s.Label), ml.LabelMaxSize)
	}
	var err error
	if s.listenHost, s.listen, err = listensOn(s.ListenAddress); err != nil {
		return s, err
	}
	if !isAdvertisable(s.AdvertiseAddress) {
		return s, params.Bad("advertise_address", "%q is not an IP address, a name or an interface, with a port from 1 to 65535 if need be, such as 10.0.0.1:9094 or eth0", params.Shown(s.AdvertiseAddress))
	}
	if isUnspecified(s.AdvertiseAddress) {
		return s, params.Bad("advertise_address", "%q: nobody can reach the unspecified address", s.AdvertiseAddress)
	}
	for _, peer := range s.Peers {
		if !isHostPort(peer) {
			return s, params.Bad("peers", "%q is not host:port, such as node-2:9094 or [fd00::2]:9094", params.Shown(peer))
		}
	}
	for key, d := range map[string]time.Duration{
		"peers_resolve_interval": s.PeersResolveInterval, "gossip_interval": s.GossipInterval, "probe_interval": s.ProbeInterval,
		"probe_timeout": s.ProbeTimeout, "push_pull_interval": s.PushPullInterval, "tcp_timeout": s.TCPTimeout, "reconnect_interval": s.ReconnectInterval,
	} {
		if d < time.Millisecond {
			return s, params.Bad(key, "%v is too short; at least 1ms is valid", d)
		}
	}
	s.ProbeTimeout = min(s.ProbeTimeout, s.ProbeInterval)
	if s.DirectLimit < 0 {
		return s, params.Bad("direct_limit", "%d is negative", s.DirectLimit)
	}
	if s.keys, err = keyring(s.EncryptionKeys); err != nil {
		return s, err
	}
	if s.tls, err = readTLSFile(s.TLSConfigFile); err != nil {
		return s, params.Bad("tls_config_file", "%v", err)
	}
	return s, nil
}

// listensOn splits listen_address; host is a name that is still to be looked up.
func listensOn(text string) (host string, at netip.AddrPort, err error) {
	if at, err = netip.ParseAddrPort(text); err == nil {
		return "", at, nil
	}
	host, port, err := net.SplitHostPort(text)
	n, bad := strconv.ParseUint(port, 10, 16)
	if err != nil || bad != nil || strings.ContainsAny(host, ":/@? ") {
		return "", at, params.Bad("listen_address", "%q is not an address and a port from 0 to 65535, such as 0.0.0.0:9094 or [::]:9094", params.Shown(text))
	}
	if host == "" {
		return "", netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(n)), nil
	}
	return host, netip.AddrPortFrom(netip.Addr{}, uint16(n)), nil
}

// locate looks up the name in listen_address, if there is one.
func (s *settings) locate(ctx context.Context, resolve resolver) error {
	if s.listenHost == "" {
		return nil
	}
	addr, err := named(ctx, s.listenHost, netip.Addr{}, resolve)
	if dns, ok := errors.AsType[*net.DNSError](err); ok && !dns.IsNotFound {
		return fmt.Errorf("memberlist: %w: listen_address: %q: %w", driver.ErrUnavailable, s.ListenAddress, err)
	}
	if err != nil {
		return params.Bad("listen_address", "%q: %w", s.ListenAddress, err)
	}
	s.listen = netip.AddrPortFrom(addr.Unmap(), s.listen.Port())
	return nil
}

// isAdvertisable reports whether text has a form of advertise_address.
func isAdvertisable(text string) bool {
	if isHostPort(text) || text == "" {
		return true
	}
	host := text
	if bracketed, ok := strings.CutPrefix(text, "["); ok {
		if host, ok = strings.CutSuffix(bracketed, "]"); !ok {
			return false
		}
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return !strings.ContainsAny(host, ":@/?[], ")
}

func isUnspecified(text string) bool {
	host := text
	if h, _, err := net.SplitHostPort(text); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsUnspecified()
}

func isHostPort(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || strings.ContainsAny(host, "@/? ") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// keyring returns nil if there are no keys. Its errors show no key.
func keyring(texts []string) (*ml.Keyring, error) {
	if len(texts) == 0 {
		return nil, nil
	}
	keys := make([][]byte, len(texts))
	for i, text := range texts {
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, params.Bad("encryption_keys", "key %d of %d (not shown) is not base64", i+1, len(texts))
		}
		if err := ml.ValidateKey(key); err != nil {
			return nil, params.Bad("encryption_keys", "key %d of %d (not shown) has %d bytes; 16, 24 or 32 are valid", i+1, len(texts), len(key))
		}
		keys[i] = key
	}
	ring, err := ml.NewKeyring(keys, keys[0])
	if err != nil {
		return nil, params.Bad("encryption_keys", "cannot be used")
	}
	return ring, nil
}
