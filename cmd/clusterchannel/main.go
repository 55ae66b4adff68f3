// Command clusterchannel runs the reference application and shows it at work.
//
//	clusterchannel demo
//	clusterchannel conformance --backend redis --param address=localhost:6379
//	clusterchannel alertmanager --config.file=alertmanager.yml --cluster.peer=10.0.0.6:9094
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	_ "github.com/clusterchannel/clusterchannel/backends/all"
)

// cli is the command line.
type cli struct {
	Alertmanager alertmanagerCmd `cmd:"" help:"Run one highly available Alertmanager, with flags named as Alertmanager's."`
	Conformance  conformanceCmd  `cmd:"" help:"Run the conformance suite against a server that is up, and print a report."`
	Config       configCmd       `cmd:"" help:"Look at a configuration without using it."`
	Demo         demoCmd         `cmd:"" help:"Show three nodes that deliver an alert once, lose one of them, and go on."`
	Doctor       doctorCmd       `cmd:"" help:"Say where, between configuration and delivery, something is wrong, and how to fix it."`
	Health       healthCmd       `cmd:"" help:"Ask a node whether it is healthy or ready; the exit status is the answer."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c cli
	parser := kong.Must(&c,
		kong.Name("clusterchannel"),
		kong.Description("A service becomes highly available by one config key."),
		kong.UsageOnError(),
		kong.Exit(func(code int) {
			if code != 0 {
				code = 2 // a command line that cannot be used
			}
			os.Exit(code)
		}),
		kong.BindTo(ctx, (*context.Context)(nil)))
	k, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	if err := k.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "clusterchannel: "+err.Error())
		stop()
		os.Exit(exitCode(err))
	}
}

// usageError is a mistake on the command line that only a command can find.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func exitCode(err error) int {
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}
