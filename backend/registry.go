package backend

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

var registry = struct {
	sync.RWMutex
	open map[string]driver.OpenFunc
}{open: map[string]driver.OpenFunc{}}

// Register makes a backend available under name, as Config.Backend and as the
// scheme of a URL. Backends call it in init. It panics when name is empty or
// taken, or open is nil.
func Register(name string, open driver.OpenFunc) {
	registry.Lock()
	defer registry.Unlock()
	switch {
	case name == "":
		panic("backend: Register: the name is empty")
	case open == nil:
		panic(fmt.Sprintf("backend: Register(%q): open is nil", name))
	case registry.open[name] != nil:
		panic(fmt.Sprintf("backend: Register(%q): the name is taken", name))
	}
	registry.open[name] = open
}

// Lookup returns the backend registered under name. A wrapper hands the result
// on as Config.Open.
func Lookup(name string) (driver.OpenFunc, bool) {
	registry.RLock()
	defer registry.RUnlock()
	open, ok := registry.open[name]
	return open, ok
}

// Registered returns the names of the registered backends, sorted.
func Registered() []string {
	registry.RLock()
	defer registry.RUnlock()
	return slices.Sorted(maps.Keys(registry.open))
}

func unknownBackend(name string) error {
	have := strings.Join(Registered(), ", ")
	if have == "" {
		have = "none"
	}
	if name == "" {
		return fmt.Errorf("%w: %w: backend is empty (registered: %s)", ErrConfig, ErrUnknownBackend, have)
	}
	return fmt.Errorf("%w: %w: backend %q (registered: %s); mind the spelling, or import the package that registers it, as %q does for those of this module",
		ErrConfig, ErrUnknownBackend, name, have, "github.com/clusterchannel/clusterchannel/backends/all")
}
