package grafanaini

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend"
)

// maxLabel is the longest name of a cluster, in bytes.
const maxLabel = 200

// gossipConfig is the Config for the backend memberlist.
func gossipConfig(r *reader) (backend.Config, error) {
	listen, err := listenAddress(r.values["ha_listen_address"])
	if err != nil {
		return backend.Config{}, err
	}
	if err := checkAdvertised(r.values["ha_advertise_address"]); err != nil {
		return backend.Config{}, err
	}
	peers := r.values["ha_peers"]
	if err := checkHostPorts(peers, "9094"); err != nil {
		return backend.Config{}, err
	}
	label := r.values["ha_label"]
	if len(label.text) > maxLabel {
		return backend.Config{}, label.errorf("has %d bytes; at most %d are valid", len(label.text), maxLabel)
	}
	params := map[string]string{
		"listen_address":     listen,
		"peers":              strings.Join(peers.items, ","),
		"label":              label.text, // given even where it is empty, which means none
		"gossip_interval":    r.values["ha_gossip_interval"].span.String(),
		"push_pull_interval": r.values["ha_push_pull_interval"].span.String(),
	}
	if v := r.values["ha_advertise_address"]; v.text != "" {
		params["advertise_address"] = v.text
	}
	return backend.Config{Backend: "memberlist", Cluster: label.text, Params: params}, nil
}

// listenAddress reads host:port of which the host may be empty.
func listenAddress(v value) (string, error) {
	host, port, err := net.SplitHostPort(v.text)
	if err != nil {
		return "", v.errorf("is not an IP address and a port, such as 0.0.0.0:9094 or [::]:9094")
	}
	if host == "" && v.written != v.text {
		return "", v.errorf("has no host: nothing stands before the port")
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if _, err := netip.ParseAddrPort(net.JoinHostPort(host, port)); err != nil {
		return "", v.errorf("is not an IP address and a port, such as 0.0.0.0:9094 or [::]:9094")
	}
	return net.JoinHostPort(host, port), nil
}

func checkAdvertised(v value) error {
	if v.text == "" {
		return nil
	}
	addr, err := netip.ParseAddrPort(v.text)
	switch {
	case err != nil:
		return v.errorf("is not an IP address and a port, such as 10.0.0.5:9094; leave it out for this host's own")
	case addr.Addr().IsUnspecified() || addr.Port() == 0:
		return v.errorf("is no address that others can reach; give this node's own address and port")
	}
	return nil
}

// checkHostPorts refuses an item of v that is not host:port.
func checkHostPorts(v value, port string) error {
	for i, item := range v.items {
		host, number, err := net.SplitHostPort(item)
		n, bad := strconv.ParseUint(number, 10, 16)
		if err == nil && bad == nil && n > 0 && host != "" && !strings.ContainsAny(host, "/@ \t\"'`") {
			continue
		}
		return v.errorf("has an item, number %d, that is not host:port, such as node-2:%s or [fd00::2]:%s", i+1, port, port)
	}
	return nil
}
