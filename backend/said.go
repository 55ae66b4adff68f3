package backend

import (
	"maps"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// said is what each member of the view said last.
type said struct {
	mu  sync.Mutex
	all map[string]*Said // by instance
}

// keep forgets all that are no members.
func (s *said) keep(members []core.Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]*Said, len(members))
	for _, m := range members {
		if all[m.Instance] = s.all[m.Instance]; all[m.Instance] == nil {
			all[m.Instance] = new(Said)
		}
	}
	s.all = all
}

// heard notes what a member said. The key is copied only where it is another.
func (s *said) heard(instance []byte, what string, key []byte, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.all[string(instance)]
	if m == nil {
		return
	}
	m.What, m.At = what, now
	if m.Key != string(key) {
		m.Key = string(key)
	}
}

// list returns a copy, without those that said nothing.
func (s *said) list() map[string]Said {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]Said{}
	for id, m := range maps.All(s.all) {
		if !m.At.IsZero() {
			all[id] = *m
		}
	}
	return all
}

// saying is the word for a message.
func saying(m core.Message) string {
	switch m.(type) {
	case *core.Heartbeat:
		return "beat"
	case *core.Goodbye:
		return "goodbye"
	case *core.Pull:
		return "pull"
	case *core.Answer:
		return "answer"
	case *core.Push:
		return "push"
	case *core.Walk, *core.Walked:
		return "entries"
	case *core.Missing:
		return "missing"
	case *core.Kept:
		return "kept"
	default:
		return "list"
	}
}
