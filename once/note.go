package once

import (
	"bytes"
	"encoding/json"
	"time"
)

// note is an entry of the map: a result, or an attempt.
type note struct {
	Value    []byte    `json:"-"`
	By       string    `json:"by,omitempty"`
	Instance string    `json:"instance,omitempty"`
	At       time.Time `json:"at,omitzero"`

	attempt
}

// attempt is what a node tells of its own work on a key.
type attempt struct {
	Acts   bool `json:"acts,omitempty"`
	Failed int  `json:"failed,omitempty"` // how often, so far
}

// MarshalBinary implements encoding.BinaryMarshaler: a line of JSON, and behind it the
// value as it is, if there is one.
func (n note) MarshalBinary() ([]byte, error) {
	b, err := json.Marshal(n)
	if err != nil || len(n.Value) == 0 {
		return b, err
	}
	return append(append(b, '\n'), n.Value...), nil
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler.
func (n *note) UnmarshalBinary(b []byte) error {
	line, value, _ := bytes.Cut(b, []byte("\n"))
	*n = note{Value: bytes.Clone(value)}
	return json.Unmarshal(line, n)
}
