package scheduler

import (
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Transition is one change of one alert's state, as one node saw it.
type Transition struct {
	Time     time.Time         `json:"time"`
	Instance string            `json:"instance"` // name of the node that evaluated
	Group    string            `json:"group"`
	Rule     string            `json:"rule"`
	Labels   map[string]string `json:"labels"`
	From     string            `json:"from"` // inactive, pending or firing, as To
	To       string            `json:"to"`
}

// history is a ring.
type history struct {
	mu    sync.Mutex
	ring  []Transition
	total int
}

func newHistory(size int) *history { return &history{ring: make([]Transition, size)} }

func (h *history) add(all []Transition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range all {
		h.ring[h.total%len(h.ring)] = t
		h.total++
	}
}

// kept lists what the ring holds, and how many older transitions it has
// dropped.
func (h *history) kept() ([]Transition, int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.total <= len(h.ring) {
		return slices.Clone(h.ring[:h.total]), 0
	}
	oldest := h.total % len(h.ring)
	return slices.Concat(h.ring[oldest:], h.ring[:oldest]), h.total - len(h.ring)
}

// History returns the latest transitions of the alerts that this node evaluated,
// the oldest first.
func (s *Scheduler) History() []Transition {
	all, _ := s.history.kept()
	return all
}

// HistoryHandler serves the history as JSON: the name of this node, the
// transitions, the oldest first, and how many older ones are no longer kept.
func (s *Scheduler) HistoryHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		all, forgotten := s.history.kept()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(struct { // the client may be gone
			Instance    string       `json:"instance"`
			Transitions []Transition `json:"transitions"`
			Forgotten   int          `json:"forgotten"`
		}{s.opts.Name, all, forgotten})
	})
}
