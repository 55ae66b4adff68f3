package backend

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	maxStrangers = 16
	strangerFor  = time.Minute
)

// A Stranger is a node of this cluster that speaks another version of the
// protocol: it is heard, and cannot be a member.
type Stranger struct {
	Name     string // empty where its frames do not say it
	Instance string
	Version  uint64
	At       time.Time // when it was last heard
}

// strangers are those heard within the last minute, up to a few.
type strangers struct {
	mu  sync.Mutex
	all map[string]Stranger
}

// heard notes one, and returns all that is known of it.
func (s *strangers) heard(instance, name string, version uint64) Stranger {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(now)
	if len(instance) > 64 {
		instance = instance[:64]
	}
	who := Stranger{Name: cmp.Or(name, s.all[instance].Name), Instance: instance, Version: version, At: now}
	if s.all == nil {
		s.all = map[string]Stranger{}
	}
	if _, known := s.all[instance]; known || len(s.all) < maxStrangers {
		s.all[instance] = who
	}
	return who
}

func (s *strangers) forget(now time.Time) {
	maps.DeleteFunc(s.all, func(_ string, who Stranger) bool { return now.Sub(who.At) > strangerFor })
}

// list returns them by name.
func (s *strangers) list() []Stranger {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(time.Now())
	return slices.SortedFunc(maps.Values(s.all), func(a, b Stranger) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Instance, b.Instance))
	})
}
