package driver

import (
	"context"
	"time"
)

// A Backend is how a backend describes itself when it is registered. Open alone
// is enough; the rest is for its operators. A Backend is a value: do not modify
// what it refers to.
type Backend struct {
	// Open starts a driver.
	Open OpenFunc

	// Params is the zero value of the struct that Open decodes Options.Params into
	// by package params. Its tags name the keys, their types and defaults, and
	// which are secret. With nil each parameter is treated as a secret when
	// parameters are shown.
	Params any

	// Mesh is for a backend without a server, whose nodes meet each other: it
	// returns the parameters of a node that listens at self and finds the others
	// at peers, each a host:port. Nil means that there is a server, at the
	// parameter with the name or alias address, unless Local is set.
	Mesh func(self string, peers []string) map[string]string

	// Local says that only nodes of one process can meet, as in tests.
	Local bool

	// Flags are Alertmanager's own, if it has this kind of cluster.
	Flags []Flag

	// Examine is the backend's part of the doctor. Nil: the doctor opens a driver,
	// sends a frame and hears it.
	Examine ExamineFunc
}

// A Flag is one of Alertmanager's flags --cluster.NAME, which a program with
// Alertmanager's command line accepts for a parameter of a backend.
type Flag struct {
	Name  string // what comes after "--cluster."
	Param string // the parameter that it sets; empty if it is accepted without effect
	Type  string // as of params.Key, if Param is empty; else the parameter's
	Help  string // a sentence

	// Switch: given as the empty text, the flag turns high availability off.
	Switch bool

	// Cluster: the flag also names the cluster if nothing else does.
	Cluster bool
}

// An ExamineFunc goes step by step from the parameters to a frame that is
// heard. It reports what each step has found, and stops when a further step
// could find nothing new. It does not become a member of the cluster, changes
// nothing on a server, and may run beside the node that it examines. Package
// doctor has the steps that backends share. When it returns, nothing is left
// running.
type ExamineFunc func(ctx context.Context, e Examination)

// An Examination is the argument of an ExamineFunc.
type Examination struct {
	// Options are what a driver would be opened with. Open accepts the parameters.
	// Self.Instance is the examination's own.
	Options

	// Timeout bounds each step that waits for an answer.
	Timeout time.Duration

	// Report receives the findings in order. It must not be called by two
	// goroutines at once. Values of secret parameters are replaced before a
	// finding is shown.
	Report func(Finding)
}

// A Finding is what one step of an examination has found.
type Finding struct {
	Name   string `json:"name"`          // of the step: "tcp", "auth", "delivery"
	Status Status `json:"status"`        // how it has ended
	Tried  string `json:"tried"`         // what was done
	Got    string `json:"got"`           // the result
	Fix    string `json:"fix,omitempty"` // what to do about it, if anything
}

// A Status says how a step has ended.
type Status string

const (
	OK   Status = "ok"   // as it should be
	Warn Status = "warn" // works, but may not for long or under load
	Fail Status = "fail" // does not work
	Skip Status = "skip" // could not be tried
)

// OK reports a step that went well.
func (e Examination) OK(name, tried, got string) {
	e.Report(Finding{Name: name, Status: OK, Tried: tried, Got: got})
}

// Warn reports what works, but may not for long or under load.
func (e Examination) Warn(name, tried, got, fix string) {
	e.Report(Finding{Name: name, Status: Warn, Tried: tried, Got: got, Fix: fix})
}

// Fail reports what does not work.
func (e Examination) Fail(name, tried string, err error, fix string) {
	e.Report(Finding{Name: name, Status: Fail, Tried: tried, Got: err.Error(), Fix: fix})
}

// Skip reports a step that could not be tried.
func (e Examination) Skip(name, tried, got, fix string) {
	e.Report(Finding{Name: name, Status: Skip, Tried: tried, Got: got, Fix: fix})
}
