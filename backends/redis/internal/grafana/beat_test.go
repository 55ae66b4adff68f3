package grafana

import (
	"reflect"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
)

// FuzzDecodeBeat holds the decoder of beats to its bounds, and to giving back what it
// read. A beat is told from a frame of Grafana's by its first byte.
func FuzzDecodeBeat(f *testing.F) {
	f.Add(beat{Name: "a", Instance: "i", Addr: "a:1", Meta: map[string]string{"zone": "north"}, Interval: 500, Count: 7, Hello: true}.encode()[1:])
	f.Add(beat{Name: "a", Instance: "i", Bye: true}.encode()[1:])
	for _, hostile := range []string{
		``, `{`, `null`, `[]`, `{}`, `{"name":"a"}`, `{"instance":"i"}`, `{"name":"","instance":"i"}`, `{"name":1,"instance":"i"}`,
		`{"name":"a","instance":"i","interval":-1}`, `{"name":"a","instance":"i","interval":9223372036854775807}`, `{"name":"a","instance":"i","interval":1e400}`,
		`{"name":"a","instance":"i","count":18446744073709551615}`, `{"name":"a","instance":"i","count":-1}`, `{"name":"a","instance":"i","meta":{"":""}}`,
		`{"name":"a","instance":"i","meta":null,"unknown":{}}`, `{"name":"\u0000","instance":"\ud800"}`,
	} {
		f.Add([]byte(hostile))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := decodeBeat(append([]byte{beatMark}, text...))
		if err != nil {
			return
		}
		if b.Name == "" || b.Instance == "" || b.Interval < 0 || b.Interval > heartbeat.MaxInterval.Milliseconds() {
			t.Errorf("%q is read as %+v", text, b)
		}
		if len(b.Meta) == 0 {
			b.Meta = nil // it is left out
		}
		if again, err := decodeBeat(b.encode()); err != nil || !reflect.DeepEqual(again, b) {
			t.Errorf("%+v is written, and read as %+v, %v", b, again, err)
		}
	})
}
