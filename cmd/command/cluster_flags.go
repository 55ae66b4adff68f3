package command

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/clusterchannel/clusterchannel/backend"
)

// clusterFlags say which cluster to join. Those that only gossip has are handed
// to the backend memberlist.
type clusterFlags struct {
	Config        string            `name:"config" help:"YAML file with the cluster's configuration, in place of all other cluster flags."`
	Backend       string            `name:"backend" default:"memberlist" help:"Key of the backend."`
	Param         map[string]string `name:"param" mapsep:"none" placeholder:"KEY=VALUE" help:"Parameter of the backend; repeatable."`
	Name          string            `name:"name" help:"Name of the cluster; default: the label, by gossip."`
	PeerName      string            `name:"peer-name" help:"Name of this node; default: the host's."`
	SettleTimeout time.Duration     `name:"settle-timeout" default:"1m" help:"How long to wait at most for the state of the others."`

	ListenAddress     string        `name:"listen-address" default:"0.0.0.0:9094" help:"Gossip address, TCP and UDP; empty turns high availability off."`
	AdvertiseAddress  string        `name:"advertise-address" help:"What to tell the others in its place."`
	Peer              []string      `name:"peer" sep:"none" help:"host:port of another node; repeatable. Names are looked up again for ever."`
	Label             string        `name:"label" help:"Must be the same on all nodes."`
	GossipInterval    time.Duration `name:"gossip-interval" default:"200ms" help:"How often to repeat what others may have missed."`
	PushPullInterval  time.Duration `name:"pushpull-interval" default:"1m" help:"How often to exchange full states with gossip's own means."`
	TCPTimeout        time.Duration `name:"tcp-timeout" default:"10s" help:"Limit of a stream connection."`
	ProbeInterval     time.Duration `name:"probe-interval" help:"How often to probe a member; default: the backend's."`
	ProbeTimeout      time.Duration `name:"probe-timeout" help:"How long to wait for the answer; default: the backend's."`
	ReconnectInterval time.Duration `name:"reconnect-interval" help:"How often to try lost peers; default: the backend's."`
	ReconnectTimeout  time.Duration `name:"reconnect-timeout" help:"Accepted for Alertmanager's sake: lost peers are tried for ever."`
	ResolveTimeout    time.Duration `name:"peers-resolve-timeout" help:"Accepted for Alertmanager's sake: names are looked up for ever, in the background."`
	TLSConfig         string        `name:"tls-config" help:"File with Alertmanager's TLS settings for gossip."`
	InsecureDiscovery bool          `name:"allow-insecure-public-advertise-address-discovery" help:"Accepted for Alertmanager's sake: give --cluster.advertise-address."`
}

// conflict tells of a flag that would be ignored, among those that were given: one
// beside what says all of the cluster, which instead names if there is such, or one
// that only gossip has beside another backend.
func (f *clusterFlags) conflict(k *kong.Context, instead string) error {
	if instead == "" && f.Config != "" {
		instead = "--cluster.config"
	}
	for _, p := range k.Path {
		if p.Flag == nil || !strings.HasPrefix(p.Flag.Name, "cluster.") {
			continue
		}
		name := "--" + p.Flag.Name
		switch {
		case name == instead, name == "--cluster.peer-timeout" && instead == "--cluster.config":
		case instead != "":
			return fmt.Errorf("%s is given beside %s, which says all of the cluster: set it there, or leave it out", name, instead)
		case f.Backend != "memberlist" && isGossip(p.Flag.Name):
			return fmt.Errorf("%s is for the backend memberlist, and --cluster.backend is %s: leave it out, or give a --cluster.param", name, f.Backend)
		}
	}
	return nil
}

// isGossip tells whether the flag of that name is one that only gossip has.
func isGossip(name string) bool {
	switch strings.TrimPrefix(name, "cluster.") {
	case "config", "backend", "param", "name", "peer-name", "settle-timeout", "peer-timeout":
		return false
	}
	return true
}

// config returns the configuration of the channel, and whether there is to be
// one.
func (f *clusterFlags) config() (backend.Config, bool, error) {
	if f.Config != "" {
		c, err := backend.LoadFile(f.Config)
		return c, err == nil, err
	}
	c := backend.Config{
		Backend: f.Backend, Cluster: f.Name, Name: f.PeerName, Params: map[string]string{},
		Timing: backend.Timing{Settle: f.SettleTimeout},
	}
	if f.Backend == "memberlist" {
		if f.ListenAddress == "" {
			return c, false, nil
		}
		f.gossip(c.Params)
		if c.Cluster == "" {
			c.Cluster = f.Label
		}
	}
	maps.Copy(c.Params, f.Param)
	return c, true, nil
}

// gossip sets what the flags say of the backend memberlist.
func (f *clusterFlags) gossip(params map[string]string) {
	params["listen_address"] = f.ListenAddress
	params["label"] = f.Label
	for key, value := range map[string]string{
		"advertise_address": f.AdvertiseAddress, "peers": strings.Join(f.Peer, ","), "tls_config_file": f.TLSConfig,
	} {
		if value != "" {
			params[key] = value
		}
	}
	for key, d := range map[string]time.Duration{
		"gossip_interval": f.GossipInterval, "push_pull_interval": f.PushPullInterval, "tcp_timeout": f.TCPTimeout,
		"probe_interval": f.ProbeInterval, "probe_timeout": f.ProbeTimeout, "reconnect_interval": f.ReconnectInterval,
	} {
		if d != 0 {
			params[key] = d.String()
		}
	}
}
