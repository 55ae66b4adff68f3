package nemesis

import (
	"slices"
	"time"
)

// shrink returns a smaller schedule for which fails reports that the same promise
// is broken, or nil. It tries until the deadline.
func shrink(s *Schedule, deadline time.Time, fails func(*Schedule) bool) *Schedule {
	var found *Schedule
	for size := max(len(s.Steps)/2, 1); ; {
		smaller := false
		for from := 0; from < len(s.Steps); {
			if time.Now().After(deadline) {
				return found
			}
			c := s.copy()
			c.Steps = slices.Delete(c.Steps, from, min(from+size, len(c.Steps)))
			c.early()
			if len(c.names()) > 0 && fails(c) {
				s, found, smaller = c, c, true
			} else {
				from += size
			}
		}
		if size > 1 {
			size /= 2
		} else if !smaller {
			return found
		}
	}
}

// early moves all steps so that the first one begins at once.
func (s *Schedule) early() {
	for i := len(s.Steps) - 1; i >= 0; i-- {
		s.Steps[i].At -= s.Steps[0].At
	}
}
