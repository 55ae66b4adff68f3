package main

import (
	"context"
	"syscall"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/network"
)

// fault is what happens to a cluster while alerts come.
type fault struct {
	name, title string
	happen      func(context.Context, *cluster) error
}

const (
	first  = 0 // the node that sends
	second = 1 // a node that waits
)

var faults = []fault{
	{"none", "none", func(ctx context.Context, _ *cluster) error { return pause(ctx, 20*time.Second) }},
	{"restart", "the first restarts", func(ctx context.Context, c *cluster) error { return c.restart(ctx, first) }},
	{"kill", "the first is killed, and back after 5 s", func(ctx context.Context, c *cluster) error {
		if err := c.end(first, syscall.SIGKILL); err != nil {
			return err
		}
		if err := pause(ctx, 5*time.Second); err != nil {
			return err
		}
		return c.begin(first)
	}},
	{"cut-5s", "the second is cut off for 5 s, less than grace", cut(5 * time.Second)},
	{"cut-13s", "for 13 s, between grace and the peer timeout", cut(13 * time.Second)},
	{"cut-30s", "for 30 s, longer than both", cut(30 * time.Second)},
	{"standstill", "the first stands still for 20 s", func(ctx context.Context, c *cluster) error {
		if err := c.nodes[first].Process.Signal(syscall.SIGSTOP); err != nil {
			return err
		}
		if err := pause(ctx, 20*time.Second); err != nil {
			return err
		}
		return c.nodes[first].Process.Signal(syscall.SIGCONT)
	}},
	{"rolling", "all restart, one after the other", func(ctx context.Context, c *cluster) error {
		for i := range network.Nodes {
			if err := c.restart(ctx, i); err != nil {
				return err
			}
		}
		return nil
	}},
}

func cut(length time.Duration) func(context.Context, *cluster) error {
	return func(ctx context.Context, c *cluster) error {
		if err := c.network.Cut(ctx, second); err != nil {
			return err
		}
		if err := pause(ctx, length); err != nil {
			return err
		}
		return c.network.Heal(ctx, second)
	}
}

// pause waits, unless the context ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
