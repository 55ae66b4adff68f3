package conformance

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend"
)

// outOfSight is what no check can see, whatever the backend.
var outOfSight = []string{
	"what the server itself promises: that what it has confirmed is delivered, and that its leases and sessions end when it says",
	"rights, credentials and TLS, beyond those that Harness.Params gives",
	"a fail-over between several servers, unless Harness.Server starts such a cluster",
	"clocks that differ, processes and hosts: all nodes are in one process",
}

// notChecked notes what a check cannot see of this backend.
func (e *env) notChecked(format string, args ...any) {
	e.suite.notChecked(e.check.name + ": " + fmt.Sprintf(format, args...))
}

func (s *suite) notChecked(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.unseen, what) {
		s.unseen = append(s.unseen, what)
	}
}

// blind returns what the run could not see: what its checks have noted, what its
// harness does not show, and what is out of sight.
func (s *suite) blind() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Sorted(slices.Values(s.unseen))
	if b, ok := backend.Lookup(s.h.Backend); !ok || b.Params == nil {
		all = append(all, "the parameters, beyond Harness.Bad: the backend does not describe them (driver.Backend.Params), so nobody knows which are secrets, and which are misspelt")
	}
	if s.h.Server != nil && s.h.Foreign == nil {
		all = append(all, "that the data of strangers on the server is left alone (Harness.Foreign)")
	}
	if s.h.Server != nil && s.h.Residue == nil {
		all = append(all, "what is left on the server: inboxes, sessions, retained messages (Harness.Residue)")
	}
	return append(all, outOfSight...)
}

// unseenList is the end of a run.
func unseenList(blind []string) string {
	return "not checked:\n  - " + strings.Join(blind, "\n  - ")
}
