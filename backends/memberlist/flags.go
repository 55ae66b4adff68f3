package memberlist

import (
	"strings"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// flags are Alertmanager's flags for its peers.
var flags = []driver.Flag{
	{Name: "listen-address", Param: "listen_address", Switch: true, Help: "Gossip address, TCP and UDP; empty turns high availability off."},
	{Name: "advertise-address", Param: "advertise_address", Help: "Address to tell the others, if it differs from the listen address."},
	{Name: "peer", Param: "peers", Help: "host:port of another node; repeatable. Names are looked up again and again."},
	{Name: "label", Param: "label", Cluster: true, Help: "Label of all traffic, the same on all nodes. It is the cluster's name too, unless that is set elsewhere."},
	{Name: "gossip-interval", Param: "gossip_interval", Help: "How often to repeat what others may have missed."},
	{Name: "pushpull-interval", Param: "push_pull_interval", Help: "How often to exchange full states with a random member."},
	{Name: "tcp-timeout", Param: "tcp_timeout", Help: "Timeout of a stream connection."},
	{Name: "probe-interval", Param: "probe_interval", Help: "How often to probe a member."},
	{Name: "probe-timeout", Param: "probe_timeout", Help: "How long to wait for the answer to a probe."},
	{Name: "reconnect-interval", Param: "reconnect_interval", Help: "How often to try a lost member again."},
	{Name: "reconnect-timeout", Type: "duration", Help: "Accepted for compatibility; no effect: lost members are tried for ever."},
	{Name: "peers-resolve-timeout", Type: "duration", Help: "Accepted for compatibility; no effect: names are looked up again and again, in the background."},
	{Name: "tls-config", Param: "tls_config_file", Help: "File with Alertmanager's TLS settings for gossip."},
	{Name: "allow-insecure-public-advertise-address-discovery", Type: "bool", Help: "Accepted for compatibility; no effect: give --cluster.advertise-address."},
}

// meshParams is driver.Backend.Mesh.
func meshParams(self string, peers []string) map[string]string {
	return map[string]string{"listen_address": self, "peers": strings.Join(peers, ",")}
}
