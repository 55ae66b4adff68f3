package etcd

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// layout says where the keys of a cluster are. The cluster's name is escaped, so
// that it holds no slash and no name lies below another.
type layout struct {
	root    string // all of the cluster's keys are below
	members string // and an instance: a node, while its lease lives
	frames  string // and an instance: the node's latest frame for all
	to      string // and an instance: the latest frame for that node; behind all others
}

func newLayout(prefix, cluster string) layout {
	root := prefix + "/" + url.PathEscape(cluster) + "/"
	return layout{root: root, members: root + "members/", frames: root + "frames/", to: root + "to/"}
}

// end returns the end of the range of keys below prefix.
func end(prefix string) []byte { return []byte(clientv3.GetPrefixRangeEnd(prefix)) }

// record is the value of a member's key.
type record struct {
	Name     string            `json:"name"`
	Instance string            `json:"instance"`
	Addr     string            `json:"addr,omitempty"`
	Meta     map[string]string `json:"meta,omitempty"`
	Leaving  bool              `json:"leaving,omitempty"` // it is closing, and its lease is about to go
}

func encodeMember(m driver.Member, leaving bool) []byte {
	b, err := json.Marshal(record{m.Name, m.Instance, m.Addr, m.Meta, leaving})
	if err != nil {
		panic(err) // everything in it can be encoded
	}
	return b
}

const maxName = 1024 // bytes, of a member's name

var errNoMember = errors.New("is no member of this cluster")

// member reads the key of a member. A key that somebody else has written is an
// error: a member has a lease, and its key is its instance.
func (l layout) member(kv *mvccpb.KeyValue) (m driver.Member, leaving bool, err error) {
	instance := strings.TrimPrefix(string(kv.Key), l.members)
	var r record
	if err := json.Unmarshal(kv.Value, &r); err != nil {
		return m, false, errNoMember
	}
	if kv.Lease == 0 || r.Instance == "" || r.Instance != instance || r.Name == "" || len(r.Name) > maxName || !utf8.ValidString(r.Name) {
		return m, false, errNoMember
	}
	return driver.Member{Name: r.Name, Instance: r.Instance, Addr: r.Addr, Meta: r.Meta}, r.Leaving, nil
}
