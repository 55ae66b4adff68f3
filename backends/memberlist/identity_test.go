package memberlist

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"

	ml "github.com/hashicorp/memberlist"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

func TestNamesSortAsMembersDo(t *testing.T) {
	sorted := []driver.Member{{Name: "a", Instance: "9"}, {Name: "a-b", Instance: "1"}, {Name: "a.b", Instance: "0"}, {Name: "a0", Instance: "0"}, {Name: "a:b"}, {Name: "aa"}}
	for i := range sorted[1:] {
		if a, b := nodeName(sorted[i]), nodeName(sorted[i+1]); a >= b {
			t.Errorf("%q does not sort before %q", a, b)
		}
	}
}

func TestForeignNodes(t *testing.T) {
	meta, err := encodeMeta(7, map[string]string{"zone": "north"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		meta    []byte
		foreign bool
	}{
		{"a+1", meta, false},
		{"a+1", nil, true},
		{"01ARZ3NDEKTSV4RRFFQ69G5FAV", nil, true},
		{"a", meta, true},
		{"+1", meta, true},
		{"a+", meta, true},
		{"a+1", append(meta, 1), true},
		{"a+1", []byte("\xcc\x02"), true},
		{"a+1", []byte("\xcc\x01"), true},
	} {
		p := newMember(&ml.Node{Name: c.name, Meta: c.meta, Addr: []byte{10, 0, 0, 1}, Port: 9094})
		if p.foreign != c.foreign || p.foreign != (p.Instance == "") {
			t.Errorf("node %q with the meta data %q: foreign %v, want %v", c.name, c.meta, p.foreign, c.foreign)
		}
		if p.Addr != "10.0.0.1:9094" {
			t.Errorf("Addr = %q", p.Addr)
		}
	}
}

func TestMetaTooLarge(t *testing.T) {
	_, err := encodeMeta(7, map[string]string{"k": strings.Repeat("x", 512)})
	if !errors.Is(err, driver.ErrConfig) || !strings.Contains(err.Error(), "meta") {
		t.Errorf("meta data above the limit: %v, want ErrConfig that names meta", err)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	for _, meta := range []map[string]string{nil, {"zone": "north"}, {"": "", "b": strings.Repeat("x", 200)}} {
		b, err := encodeMeta(7, meta)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		cluster, meta, err := decodeMeta(b)
		if err != nil {
			return
		}
		again, err := encodeMeta(cluster, meta)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q decodes to %v, which encodes to %q, %v", b, meta, again, err)
		}
	})
}

func TestMetaRoundTrip(t *testing.T) {
	a := start(t, spec{name: "a", cluster: "c", meta: map[string]string{"zone": "north", "empty": ""}})
	b := start(t, spec{name: "b", cluster: "c", params: map[string]string{"peers": a.addr}})
	agree(t, a, b)
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.views[len(b.views)-1][0]
	if m.Instance != a.self.Instance || m.Addr != a.addr || !maps.Equal(m.Meta, a.self.Meta) {
		t.Errorf("b lists %+v, want %+v", m, a.self)
	}
}
