// Package findings lets tests examine nodes as the doctor does, and holds what was
// found to what they expect.
package findings

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// TB is what is used of a testing.TB.
type TB interface {
	Helper()                           // as of testing.TB
	Context() context.Context          // as of testing.TB
	Fatalf(format string, args ...any) // as of testing.TB
	Errorf(format string, args ...any) // as of testing.TB
}

// All are the findings of an examination, in order.
type All []driver.Finding

// Examine lets the doctor examine a node of a registered backend.
func Examine(t TB, name string, o driver.Options) (all All) {
	t.Helper()
	b, ok := backend.Lookup(name)
	if !ok {
		t.Fatalf("there is no backend %q", name)
	}
	doctor.Run(t.Context(), b, driver.Examination{Options: o, Report: func(f driver.Finding) { all = append(all, f) }})
	return all
}

// Say fails the test unless a finding of that name and status says all of the texts.
func (all All) Say(t TB, name string, status driver.Status, texts ...string) {
	t.Helper()
	if !slices.ContainsFunc(all, func(f driver.Finding) bool {
		said := f.Tried + " " + f.Got + " " + f.Fix
		return f.Name == name && f.Status == status && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(said, text) })
	}) {
		t.Errorf("no finding %q is %s and says %q:\n%s", name, status, texts, all)
	}
}

// Failed reports whether a finding is a failure.
func (all All) Failed() bool {
	return slices.ContainsFunc(all, func(f driver.Finding) bool { return f.Status == driver.Fail })
}

// String returns the findings, a line each.
func (all All) String() (text string) {
	for _, f := range all {
		text += fmt.Sprintf("%+v\n", f)
	}
	return text
}
