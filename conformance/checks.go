package conformance

import (
	"slices"
	"time"
)

// level says what a check needs: a working backend, or one that it breaks.
type level int

const (
	basic level = iota // a working backend is enough
	fault              // the check stops servers, cuts links or kills nodes
)

func (l level) String() string {
	if l == fault {
		return "fault"
	}
	return "basic"
}

// check is one row of the suite.
type check struct {
	name  string
	level level
	rules []int  // lines of the contract
	holds string // what must hold, in a sentence
	needs *hook  // nil: it needs no hook
	alone bool   // it measures the process: nothing else may run
	waits bool   // most of its time it waits: it needs no turn among those that work
	body  func(*env)
}

// checks are all rows, in the order in which they run.
var checks = slices.Concat(
	configChecks,
	membersChecks,
	positionChecks,
	viewsChecks,
	broadcastChecks,
	driverChecks,
	namesChecks,
	syncChecks,
	readyChecks,
	costChecks,
	entriesChecks,
	isolationChecks,
	strangersChecks,
	faultChecks,
	lossChecks,
	lifeChecks,
	metricsChecks,
)

func (c *check) rule() string { return Rules(c.rules...) }

func (c *check) info() CheckInfo {
	return CheckInfo{Name: c.name, Level: c.level.String(), Holds: c.holds, Rule: c.rule()}
}

// lacks returns the hook that c needs and h lacks, or nil.
func (c *check) lacks(h Harness) *hook {
	if c.needs == nil || c.needs.in(h) {
		return nil
	}
	return c.needs
}

// limit is how long, by default, a check may take before it counts as hanging.
const limit = 90 * time.Second

// find returns the check of that name, or nil.
func find(name string) *check {
	i := slices.IndexFunc(checks, func(c *check) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return checks[i]
}
