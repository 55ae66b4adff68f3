package backend_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

func TestRegisterRefuses(t *testing.T) {
	open, _ := backend.Lookup("sourcetest")
	for name, c := range map[string]struct {
		name string
		b    driver.Backend
		want string
	}{
		"no name":         {"", open, "name is empty"},
		"a name twice":    {"sourcetest", open, "taken"},
		"nothing to open": {"new", driver.Backend{}, "Open is nil"},
		"no struct":       {"new", driver.Backend{Open: open.Open, Params: 7}, "not a struct"},
		"flag of no parameter": {"new", driver.Backend{Open: open.Open, Params: struct {
			Peers []string `param:"peers"`
		}{}, Flags: []driver.Flag{{Name: "peer", Param: "peer"}}}, "no parameter"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, c.want) {
					t.Errorf("it panics with %q, want %q", text, c.want)
				}
			}()
			backend.Register(c.name, c.b)
		})
	}
	if _, ok := backend.Lookup("new"); ok {
		t.Error("one that was refused is registered")
	}
}

func TestLookupReturnsTheDescription(t *testing.T) {
	type described struct {
		Peers []string `param:"peers"`
	}
	open, _ := backend.Lookup("sourcetest")
	backend.Register("described", driver.Backend{
		Open: open.Open, Params: described{}, Local: true, Flags: []driver.Flag{{Name: "peer", Param: "peers"}},
		Examine: func(context.Context, driver.Examination) {},
	})
	b, ok := backend.Lookup("described")
	if _, is := b.Params.(described); !ok || !is || !b.Local || len(b.Flags) != 1 || b.Examine == nil {
		t.Errorf("Lookup = %+v, %v", b, ok)
	}
}
