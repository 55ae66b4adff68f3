// Package command is the command clusterchannel as a library. A program of five
// lines has all of it, for the backends that it imports:
//
//	package main
//
//	import (
//		_ "example.com/mqtt"
//
//		"github.com/clusterchannel/clusterchannel/cmd/command"
//	)
//
//	func main() { command.Main() }
package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/prometheus/alertmanager/featurecontrol"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/nemesis"
)

// cli is the command line.
type cli struct {
	Version kong.VersionFlag `name:"version" help:"Print the version and exit."`

	Alertmanager alertmanagerCmd `cmd:"" help:"Run one highly available Alertmanager, with Alertmanager's own flags."`
	Conformance  conformanceCmd  `cmd:"" help:"Run the conformance suite against a server that is up, and print a report."`
	Config       configCmd       `cmd:"" help:"Examine a configuration without using it."`
	Demo         demoCmd         `cmd:"" help:"Run three nodes that deliver an alert once, kill one of them, and show that the rest go on."`
	Doctor       doctorCmd       `cmd:"" help:"Find what is wrong, from configuration to delivery, and how to fix it."`
	Health       healthCmd       `cmd:"" help:"Ask a node whether it is healthy or ready; the exit status is the answer."`
	Nemesis      nemesisCmd      `cmd:"" help:"Break clusters on a server that is up, at random, and report whether what is promised holds."`
}

// Main runs the command line of the process, os.Args, with every backend that is
// registered, and exits: with 0 when all is well, with 1 when it is not, and with 2
// when the command line cannot be used. SIGINT and SIGTERM end what is running.
// Call it once, from main.
func Main() {
	nemesis.Node() // returns unless this process is one of its nodes
	name := filepath.Base(os.Args[0])
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	parser := newParser(&c,
		kong.UsageOnError(),
		kong.Exit(func(code int) {
			if code != 0 {
				code = 2 // a command line that cannot be used
			}
			os.Exit(code)
		}),
		kong.BindTo(ctx, (*context.Context)(nil)))
	args, err := arguments(os.Args[1:])
	parser.FatalIfErrorf(err)
	k, err := parser.Parse(args)
	parser.FatalIfErrorf(err)
	if err := k.Run(); err != nil {
		if !errors.As(err, new(loggedError)) {
			fmt.Fprintln(os.Stderr, name+": "+err.Error())
		}
		stop()
		os.Exit(exitCode(err))
	}
}

// newParser returns the parser that fills c from arguments.
func newParser(c *cli, options ...kong.Option) *kong.Kong {
	name := filepath.Base(os.Args[0])
	*c = cli{Alertmanager: alertmanagerCmd{Cluster: newClusterFlags()}, Doctor: doctorCmd{Cluster: newClusterFlags()}}
	return kong.Must(c, append([]kong.Option{
		kong.Vars{"backend": usualBackend(), "version": versionText(name), "features": strings.Join(featurecontrol.AllowedFlags, ", ")},
		durations, integers,
		kong.Name(name),
		kong.Description("A service becomes highly available by one config key."),
	}, options...)...)
}

// defaultBackend is used if none is given.
const defaultBackend = "memberlist"

// usualBackend returns the default, or the only backend that a program has
// besides those for tests.
func usualBackend() string {
	var all []string
	for _, name := range backend.Registered() {
		if b, _ := backend.Lookup(name); !b.Local {
			all = append(all, name)
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return defaultBackend
}

// usageError is a mistake on the command line that only a command can find.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// loggedError has been told already, such as in a log that must not have other lines.
type loggedError struct{ error }

func (e loggedError) Unwrap() error { return e.error }

func exitCode(err error) int {
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}
