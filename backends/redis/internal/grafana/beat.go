package grafana

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
)

// beatMark begins the messages of own nodes that are no frames. No frame begins
// with it.
const beatMark = 0

// beat is a sign of life of an own node, as JSON after beatMark.
type beat struct {
	Cluster  string            `json:"cluster"`
	Name     string            `json:"name"`
	Instance string            `json:"instance"`
	Addr     string            `json:"addr,omitempty"`
	Meta     map[string]string `json:"meta,omitempty"`
	Interval int64             `json:"interval"`        // milliseconds until the next one
	Count    uint64            `json:"count"`           // of the beats of this driver
	Hello    bool              `json:"hello,omitempty"` // asks all others for theirs
	Bye      bool              `json:"bye,omitempty"`   // it is the last one
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
		return b, fmt.Errorf("a beat cannot be read: %w", err)
	}
	b.Interval = min(max(b.Interval, 0), heartbeat.MaxInterval.Milliseconds())
	if b.Name == "" || b.Instance == "" {
		return b, errors.New("a beat names no node")
	}
	return b, nil
}

func (b beat) member() driver.Member {
	return driver.Member{Name: b.Name, Instance: b.Instance, Addr: b.Addr, Meta: b.Meta}
}
