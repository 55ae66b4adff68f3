package backend

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxTroubles is how many are kept of one driver.
const maxTroubles = 16

// A Trouble is what a transport reports although its link works, or a clock that
// is apart.
type Trouble struct {
	What  string
	Err   error
	Since time.Time
}

// troubles are those that have not ended.
type troubles struct {
	mu  sync.Mutex
	all map[string]Trouble
}

// note keeps a trouble, or ends it. It reports whether anything is new.
func (t *troubles) note(what string, err error) (changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old, known := t.all[what]
	switch {
	case err == nil:
		delete(t.all, what)
		return known
	case known:
		t.all[what] = Trouble{what, err, old.Since}
		return old.Err.Error() != err.Error()
	case len(t.all) >= maxTroubles:
		return false
	case t.all == nil:
		t.all = map[string]Trouble{}
	}
	t.all[what] = Trouble{what, err, time.Now()}
	return true
}

// forget ends all, with the driver that reported them.
func (t *troubles) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.all)
}

// list returns them by What.
func (t *troubles) list() []Trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.all), func(a, b Trouble) int { return strings.Compare(a.What, b.What) })
}
