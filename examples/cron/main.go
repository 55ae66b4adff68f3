// Command cron runs a command on a schedule, on whichever node of a cluster, and once.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memberlist"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"
	_ "github.com/clusterchannel/clusterchannel/backends/redis"
	"github.com/clusterchannel/clusterchannel/once"
)

func main() {
	if len(os.Args) < 4 {
		log.Fatal("usage: cron URL PERIOD COMMAND...")
	}
	every, err := time.ParseDuration(os.Args[2])
	if err != nil || every < time.Second {
		log.Fatalf("PERIOD is %q, want a duration of at least 1s, such as 24h", os.Args[2])
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1], every, os.Args[3:], os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run is a node of the cluster that url names, until ctx is done.
func run(ctx context.Context, url string, every time.Duration, command []string, out io.Writer) error {
	node, err := backend.OpenURL(ctx, url)
	if err != nil {
		return err
	}
	defer node.Close(context.WithoutCancel(ctx))
	jobs, err := once.New(node, nil)
	if err != nil {
		return err
	}
	defer jobs.Close(context.WithoutCancel(ctx))
	var runs sync.WaitGroup
	defer runs.Wait()
	for next := range schedule(ctx, every) {
		runs.Go(func() { fire(ctx, jobs, next.UTC().Format(time.RFC3339), command, out) })
	}
	return nil
}

// fire runs the command for a moment, unless another node does.
func fire(ctx context.Context, jobs *once.Group, at string, command []string, out io.Writer) {
	result, err := jobs.Do(ctx, "job/"+at, func(ctx context.Context) ([]byte, error) {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Env = append(os.Environ(), "AT="+at)
		return cmd.Output()
	})
	if err != nil {
		log.Printf("%s: %v", at, err)
		return
	}
	fmt.Fprintf(out, "%s, by %s: %s\n", at, result.By, bytes.TrimSpace(result.Value))
}
