package memberlist

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// separator stands between name and instance in a node's name on the wire. It
// sorts below every character of a name, so that nodes sort by name, then
// instance, also where Alertmanager sorts them.
const separator = "+"

func nodeName(m driver.Member) string { return m.Name + separator + m.Instance }

// metaMagic begins the meta data of own nodes; its last byte is the version. A
// node with other meta data is foreign: an Alertmanager.
const metaMagic = "\xcc\x02"

// clusterID is what stands for the cluster's name in meta data and full states.
func clusterID(name string) uint64 { return xxhash.Sum64String(name) }

const clusterIDSize = 8

// encodeMeta writes the cluster's id, and keys and values in turn, each after its
// length.
func encodeMeta(cluster uint64, meta map[string]string) ([]byte, error) {
	b := binary.BigEndian.AppendUint64([]byte(metaMagic), cluster)
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		for _, text := range []string{k, meta[k]} {
			b = binary.AppendUvarint(b, uint64(len(text)))
			b = append(b, text...)
		}
	}
	if len(b) > ml.MetaMaxSize {
		return nil, params.Bad("meta", "takes %d bytes, of which %d are overhead; memberlist carries %d", len(b), overhead(meta, len(b)), ml.MetaMaxSize)
	}
	return b, nil
}

func overhead(meta map[string]string, total int) int {
	for k, v := range meta {
		total -= len(k) + len(v)
	}
	return total
}

// decodeMeta is the inverse of encodeMeta, and accepts nothing else.
func decodeMeta(b []byte) (cluster uint64, meta map[string]string, err error) {
	rest, ours := strings.CutPrefix(string(b), metaMagic)
	if !ours || len(b) > ml.MetaMaxSize || len(rest) < clusterIDSize {
		return 0, nil, fmt.Errorf("foreign meta data")
	}
	cluster, rest = binary.BigEndian.Uint64([]byte(rest[:clusterIDSize])), rest[clusterIDSize:]
	var last string
	for rest != "" {
		var pair [2]string
		for i := range pair {
			n, size := binary.Uvarint([]byte(rest[:min(len(rest), binary.MaxVarintLen64)]))
			if size <= 0 || n > uint64(len(rest)-size) || size != len(binary.AppendUvarint(nil, n)) {
				return 0, nil, fmt.Errorf("damaged meta data")
			}
			pair[i], rest = rest[size:size+int(n)], rest[size+int(n):]
			if !utf8.ValidString(pair[i]) {
				return 0, nil, fmt.Errorf("damaged meta data")
			}
		}
		if meta != nil && pair[0] <= last {
			return 0, nil, fmt.Errorf("damaged meta data")
		}
		if meta == nil {
			meta = map[string]string{}
		}
		last = pair[0]
		meta[pair[0]] = pair[1]
	}
	return cluster, meta, nil
}

// member is a node as memberlist knows it, own or foreign. It is not modified
// once it is made.
type member struct {
	driver.Member
	node    ml.Node
	foreign bool
	cluster uint64 // of an own node
	bundles bool   // it reads several messages in one
}

// newMember copies what it needs of n, which memberlist goes on modifying.
func newMember(n *ml.Node) *member {
	p := &member{node: *n}
	p.node.Addr = slices.Clone(n.Addr)
	p.node.Meta = nil
	p.Addr = p.node.Address()
	name, instance, split := strings.Cut(n.Name, separator)
	cluster, meta, err := decodeMeta(n.Meta)
	if err != nil || !split || name == "" || instance == "" {
		p.foreign = true
		p.Name = n.Name
		return p
	}
	p.Name, p.Instance, p.Meta, p.cluster = name, instance, meta, cluster
	p.bundles = n.DMax >= bundleReads
	return p
}
