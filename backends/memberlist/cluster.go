package memberlist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	ml "github.com/hashicorp/memberlist"
	"google.golang.org/protobuf/encoding/protowire"
)

// The cluster's name keeps nodes apart that have the same label. It is in the meta
// data of each node, and in full states, where Alertmanagers skip it.

var errOtherCluster = errors.New("cluster label mismatch: the label is the same, and the cluster's name is another")

// otherCluster says who is of another cluster.
func otherCluster(p *member) error {
	return fmt.Errorf("memberlist: %s at %s: %w", p.Name, p.Addr, errOtherCluster)
}

// ours is the id of this node's cluster.
type ours uint64

// NotifyMerge implements ml.MergeDelegate.
func (id ours) NotifyMerge(all []*ml.Node) error {
	var other *member
	for _, n := range all {
		p := newMember(n)
		if p.foreign || p.cluster == uint64(id) {
			return nil
		}
		other = p
	}
	if other == nil {
		return nil
	}
	return otherCluster(other)
}

// A full state ends with a field of clusterpb.FullState that is not Alertmanager's:
// these words, and the cluster's id.
const (
	sealField = 1984
	sealWords = "clusterchannel's cluster "
)

// sealed adds the cluster's id to a full state.
func sealed(state []byte, cluster uint64) []byte {
	id := binary.BigEndian.AppendUint64([]byte(sealWords), cluster)
	return protowire.AppendBytes(protowire.AppendTag(state, sealField, protowire.BytesType), id)
}

// checkSeal returns an error for the state of another cluster. An Alertmanager's has
// no id.
func checkSeal(state []byte, cluster uint64) error {
	words, id := state[:max(0, len(state)-clusterIDSize)], state[max(0, len(state)-clusterIDSize):]
	if bytes.HasSuffix(words, []byte(sealWords)) && binary.BigEndian.Uint64(id) != cluster {
		return errOtherCluster
	}
	return nil
}

var _ ml.MergeDelegate = ours(0)
