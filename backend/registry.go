package backend

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

var registry = struct {
	sync.RWMutex
	backends map[string]driver.Backend
}{backends: map[string]driver.Backend{}}

// Register makes a backend available under name, as Config.Backend and as the
// scheme of a URL. Backends call it in init. It panics when name is empty or
// taken, b.Open is nil, b.Params is no struct as package params describes it, or
// one of b.Flags sets a parameter that is not in it.
func Register(name string, b driver.Backend) {
	checkDescription(name, b)
	registry.Lock()
	defer registry.Unlock()
	switch {
	case name == "":
		panic("backend: Register: the name is empty")
	case b.Open == nil:
		panic(fmt.Sprintf("backend: Register(%q): Open is nil", name))
	case registry.backends[name].Open != nil:
		panic(fmt.Sprintf("backend: Register(%q): the name is taken", name))
	}
	registry.backends[name] = b
}

func checkDescription(name string, b driver.Backend) {
	known := map[string]bool{"": true}
	if b.Params != nil {
		for _, k := range params.Keys(b.Params) { // which panics
			known[k.Name] = true
		}
	}
	for _, f := range b.Flags {
		if !known[f.Param] {
			panic(fmt.Sprintf("backend: Register(%q): the flag %s sets %q, which is no parameter", name, f.Name, f.Param))
		}
	}
}

// Lookup returns the backend registered under name. What wraps it hands its Open
// on as Config.Driver.
func Lookup(name string) (driver.Backend, bool) {
	registry.RLock()
	defer registry.RUnlock()
	b, ok := registry.backends[name]
	return b, ok
}

// Registered returns the names of the registered backends, sorted.
func Registered() []string {
	registry.RLock()
	defer registry.RUnlock()
	return slices.Sorted(maps.Keys(registry.backends))
}

func unknownBackend(name string) error {
	have := strings.Join(Registered(), ", ")
	if have == "" {
		have = "none"
	}
	if name == "" {
		return fmt.Errorf("%w: %w: backend is empty (registered: %s)", ErrConfig, ErrUnknownBackend, have)
	}
	return fmt.Errorf("%w: %w: backend %q (registered: %s); check the spelling, or import the package that registers it, as %q does for those of this module",
		ErrConfig, ErrUnknownBackend, name, have, "github.com/clusterchannel/clusterchannel/backends/all")
}
