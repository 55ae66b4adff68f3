// Command clusterchannel runs the reference application and shows it at work.
//
//	clusterchannel demo
//	clusterchannel alertmanager --config.file=alertmanager.yml --cluster.peer=10.0.0.6:9094
package main

import (
	"context"
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
	Demo         demoCmd         `cmd:"" help:"Show three nodes that deliver an alert once, lose one of them, and go on."`
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
		os.Exit(1)
	}
}
