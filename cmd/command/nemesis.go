package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/nemesis"
	"github.com/clusterchannel/clusterchannel/conformance/remote"
	"github.com/clusterchannel/clusterchannel/conformance/report"
)

// nemesisCmd breaks clusters on a server that is up already.
type nemesisCmd struct {
	Backend string            `required:"" help:"Key of the backend."`
	Param   map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"Parameter of the backend, including the server's address; repeatable."`
	For     time.Duration     `default:"10m" help:"How long schedules are begun."`
	Seed    uint64            `help:"Seed of the first schedule; each further one has the next. 0 means a random one."`
	Length  time.Duration     `default:"20s" help:"For how long faults begin in a schedule."`
	Nodes   int               `placeholder:"N" help:"Nodes of a cluster; default: 3 to 5."`
	Replay  string            `placeholder:"PATH" help:"Play one schedule again: a file, or the folder of a violation."`
	Shrink  time.Duration     `default:"10m" help:"For how long a smaller schedule is looked for that breaks the same promise."`
	Dir     string            `default:"." help:"Where the folder of a violation is made."`
	Format  string            `enum:"table,json,junit,markdown" default:"table" help:"Format of the report: table, json, junit or markdown."`
	Quiet   bool              `help:"Show no progress."`

	replay *nemesis.Schedule
}

// Validate refuses what can be refused without a server.
func (c *nemesisCmd) Validate() (err error) {
	if _, ok := backend.Lookup(c.Backend); !ok {
		return fmt.Errorf("--backend: %q is none of %s", c.Backend, strings.Join(backend.Registered(), ", "))
	}
	for name, d := range map[string]time.Duration{"for": c.For, "length": c.Length, "shrink": c.Shrink} {
		if d < 0 || d == 0 && name == "length" {
			return fmt.Errorf("--%s: %v is not above 0", name, d)
		}
	}
	if c.Nodes < 0 || c.Nodes == 1 || c.Nodes > 26 {
		return fmt.Errorf("--nodes: %d is not from 2 to 26", c.Nodes)
	}
	if c.Replay != "" {
		if c.replay, err = nemesis.Load(c.Replay); err != nil {
			return fmt.Errorf("--replay: %w", err)
		}
	}
	return nil
}

// errBroken is why the command ends with 1 after its report.
var errBroken = errors.New("a promise was broken")

// Run prints the report on the standard output and progress on the other.
func (c *nemesisCmd) Run(ctx context.Context) error {
	h, err := c.harness(ctx)
	if errors.Is(err, backend.ErrConfig) {
		return usageError{fmt.Errorf("--param: %w", err)}
	}
	if err != nil {
		return err
	}
	// The first interrupt ends the run and its cluster, the next one the process.
	defer context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt, syscall.SIGTERM) })()
	b, _ := backend.Lookup(c.Backend)
	r, err := nemesis.Execute(ctx, h, nemesis.Options{
		Processes: !b.Local,
		For:       c.For, Seed: c.Seed, Length: c.Length, Nodes: c.Nodes, Replay: c.replay, Shrink: c.Shrink, Dir: c.Dir, Progress: c.progress(),
	})
	if err != nil {
		return err
	}
	if err := report.Write(os.Stdout, c.Format, r.Report); err != nil {
		return err
	}
	if len(r.Violations) > 0 {
		return fmt.Errorf("%w: %s: see %s", errBroken, r.Violations[0].Promise, r.Violations[0].Folder)
	}
	if !c.Quiet {
		fmt.Fprintln(os.Stderr, r.Summary())
	}
	if r.Played == 0 {
		return ctx.Err() // nothing was shown
	}
	return nil
}

// harness returns that of the server, or of nodes that meet each other.
func (c *nemesisCmd) harness(ctx context.Context) (conformance.Harness, error) {
	if b, _ := backend.Lookup(c.Backend); b.Mesh == nil {
		return remote.Harness(ctx, c.Backend, c.Param)
	}
	return remote.Mesh(c.Backend, nemesis.Names(c.Nodes), c.Param)
}

// progress returns a function that prints a line for each schedule, or nil.
func (c *nemesisCmd) progress() func(nemesis.Played) {
	if c.Quiet {
		return nil
	}
	return func(p nemesis.Played) { fmt.Fprintln(os.Stderr, p) }
}
