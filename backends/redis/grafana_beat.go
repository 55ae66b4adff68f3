package redis

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// beatMark begins what nodes of ours tell each other beside frames, which never
// begin with it.
const beatMark = 0

// beat is a sign of life of a node of ours, as JSON behind beatMark.
type beat struct {
	Cluster  string            `json:"cluster"`
	Name     string            `json:"name"`
	Instance string            `json:"instance"`
	Addr     string            `json:"addr,omitempty"`
	Meta     map[string]string `json:"meta,omitempty"`
	Interval int64             `json:"interval"`        // milliseconds until the next one
	ID       uint64            `json:"id,omitempty"`    // of pace
	Hello    bool              `json:"hello,omitempty"` // asks all others for theirs
	Bye      bool              `json:"bye,omitempty"`   // it is the last one
}

func newBeat(cluster string, m driver.Member, interval time.Duration) beat {
	return beat{Cluster: cluster, Name: m.Name, Instance: m.Instance, Addr: m.Addr, Meta: m.Meta, Interval: interval.Milliseconds()}
}

func (b beat) encode() []byte {
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // there is nothing in it that cannot be encoded
	}
	return append([]byte{beatMark}, text...)
}

func decodeBeat(message []byte) (b beat, err error) {
	if err := json.Unmarshal(message[1:], &b); err != nil {
		return b, fmt.Errorf("a message of our own kind cannot be read: %w", err)
	}
	if b.Name == "" || b.Instance == "" {
		return b, errors.New("a message of our own kind names no node")
	}
	return b, nil
}

func (b beat) member() driver.Member {
	return driver.Member{Name: b.Name, Instance: b.Instance, Addr: b.Addr, Meta: b.Meta}
}

// interval is kept within bounds, whatever the beat says.
func (b beat) interval(shortest time.Duration) time.Duration {
	ms := min(max(b.Interval, 0), maxBeat.Milliseconds())
	return max(time.Duration(ms)*time.Millisecond, shortest)
}
