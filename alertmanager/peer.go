package alertmanager

import (
	"cmp"

	"github.com/prometheus/alertmanager/cluster"

	"github.com/clusterchannel/clusterchannel/backend"
)

// clusterPeer shows a ClusterChannel in Alertmanager's API.
type clusterPeer struct {
	channel backend.ClusterChannel
	name    string
}

// Name implements cluster.ClusterPeer.
func (p clusterPeer) Name() string { return cmp.Or(p.name, p.channel.View().Self().Name) }

// Status implements cluster.ClusterPeer.
func (p clusterPeer) Status() string {
	if p.channel.View().Ready == backend.Settling {
		return "settling"
	}
	return "ready"
}

// Peers implements cluster.ClusterPeer.
func (p clusterPeer) Peers() []cluster.ClusterMember {
	members := p.channel.Members()
	peers := make([]cluster.ClusterMember, len(members))
	for i, m := range members {
		peers[i] = clusterMember{m}
	}
	return peers
}

type clusterMember struct{ m backend.Member }

// Name implements cluster.ClusterMember.
func (c clusterMember) Name() string { return c.m.Name }

// Address implements cluster.ClusterMember.
func (c clusterMember) Address() string { return c.m.Addr }

var _ cluster.ClusterPeer = clusterPeer{}
