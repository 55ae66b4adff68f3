package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/remote"
	"github.com/clusterchannel/clusterchannel/conformance/report"
)

// conformanceCmd runs the suite against a server that is up already.
type conformanceCmd struct {
	Backend  string            `required:"" help:"Key of the backend."`
	Param    map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"Parameter of the backend, including the server's address; repeatable."`
	Only     string            `name:"run" placeholder:"REGEXP" help:"Only the checks whose names match."`
	Format   string            `enum:"table,json,junit,markdown" default:"table" help:"Format of the report: table, json, junit or markdown."`
	Parallel int               `default:"4" help:"How many checks run side by side."`
	Scale    float64           `default:"1" help:"Multiplies all budgets, for a server that is far away or busy."`
	Quiet    bool              `help:"Show no progress."`

	selected *regexp.Regexp
}

// Validate refuses what can be refused without a server.
func (c *conformanceCmd) Validate() (err error) {
	if c.selected, err = regexp.Compile(c.Only); err != nil {
		return fmt.Errorf("--run: %w", err)
	}
	checks := conformance.Checks()
	if !slices.ContainsFunc(checks, func(i conformance.CheckInfo) bool { return c.selected.MatchString(i.Name) }) {
		return fmt.Errorf("--run: %q matches none of the %d checks", c.Only, len(checks))
	}
	if _, ok := backend.Lookup(c.Backend); !ok {
		return fmt.Errorf("--backend: %q is none of %s", c.Backend, strings.Join(backend.Registered(), ", "))
	}
	if c.Parallel < 1 {
		return fmt.Errorf("--parallel: %d is below 1", c.Parallel)
	}
	if c.Scale <= 0 {
		return fmt.Errorf("--scale: %v is not above 0", c.Scale)
	}
	return nil
}

// errNotPassed is why the command ends with 1 after its report.
var errNotPassed = errors.New("not all checks passed")

// Run prints the report on the standard output and progress on the other.
func (c *conformanceCmd) Run(ctx context.Context) error {
	h, err := remote.Harness(ctx, c.Backend, c.Param)
	if errors.Is(err, backend.ErrConfig) {
		return usageError{fmt.Errorf("--param: %w", err)}
	}
	if err != nil {
		return err
	}
	h.Parallel, h.Timing.Scale = c.Parallel, c.Scale
	// The first interrupt ends the run after the current checks, the next one at
	// once.
	defer context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt, syscall.SIGTERM) })()
	r, err := conformance.Execute(ctx, h, conformance.Options{Select: c.selected.MatchString, Progress: c.progress()})
	if err != nil {
		return err
	}
	if err := report.Write(os.Stdout, c.Format, r); err != nil {
		return err
	}
	if n := r.Count(); n[conformance.Failed] > 0 || ctx.Err() != nil {
		return fmt.Errorf("%w: %s", errNotPassed, r.Summary())
	}
	return nil
}

// progress returns a function that prints a line for each check that ended, or
// nil.
func (c *conformanceCmd) progress() func(conformance.Result) {
	if c.Quiet {
		return nil
	}
	all, done := 0, 0
	for _, i := range conformance.Checks() {
		if c.selected.MatchString(i.Name) {
			all++
		}
	}
	return func(r conformance.Result) {
		done++
		fmt.Fprintf(os.Stderr, "%3d/%d %s %v %s\n", done, all, r.Name, r.Outcome, took(r))
	}
}

func took(r conformance.Result) string {
	if r.Outcome == conformance.NotRun {
		return "(" + r.Reason + ")"
	}
	return r.Took.Round(10 * time.Millisecond).String()
}
