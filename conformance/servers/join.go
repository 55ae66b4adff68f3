package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// peers returns where servers of a cluster listen for each other, as URLs.
func peers(scheme string, all []Place) []string {
	urls := make([]string, len(all))
	for i, p := range all {
		urls[i] = fmt.Sprintf("%s://%s:%d", scheme, p.Name, p.Peer)
	}
	return urls
}

// etcdJoin replaces the arguments of an etcd that is alone. There is no fsync:
// members that share a disk would wait for each other, and what a process has
// written outlives it anyway.
func etcdJoin(self int, all []Place) []string {
	urls := peers("http", all)
	var cluster []string
	for i, url := range urls {
		cluster = append(cluster, fmt.Sprintf("m%d=%s", i, url))
	}
	return []string{
		"--name", fmt.Sprintf("m%d", self), "--listen-peer-urls", fmt.Sprintf("http://%s:%d", all[self].Host, all[self].Peer),
		"--initial-advertise-peer-urls", urls[self], "--initial-cluster", strings.Join(cluster, ","), "--unsafe-no-fsync",
	}
}

// natsJoin keeps a server from announcing the others to clients, which would
// then bypass the test's proxies.
func natsJoin(self int, all []Place) []string {
	return []string{
		"--name", fmt.Sprintf("n%d", self), "--cluster_name", "conformance", "--no_advertise",
		"--cluster", fmt.Sprintf("nats://%s:%d", all[self].Host, all[self].Peer),
		"--routes", strings.Join(slices.Delete(peers("nats", all), self, self+1), ","),
	}
}

// natsJoined checks that each server hears what is published at every other
// one.
func natsJoined(ctx context.Context, addrs []string) error {
	for i, hears := range addrs {
		for j, says := range addrs {
			if i == j {
				continue
			}
			if err := natsCarries(ctx, says, hears); err != nil {
				return fmt.Errorf("server %d does not hear server %d: %w", i, j, err)
			}
		}
	}
	return nil
}

// natsCarries publishes at one server until another hears it: servers learn of
// a subscription some time later.
func natsCarries(ctx context.Context, says, hears string) error {
	return exchange(ctx, hears, natsHello+"SUB joined 1\r\nPING\r\n", func(r *bufio.Reader) error {
		if err := natsAnswer(r); err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(ctx)
		said := make(chan error, 1)
		go func() { said <- natsSay(ctx, says) }()
		line, err := r.ReadString('\n')
		if err == nil && !strings.HasPrefix(line, "MSG joined ") {
			err = fmt.Errorf("a subscription is answered by %q", line)
		}
		cancel()
		return errors.Join(err, <-said)
	})
}

// natsSay publishes until ctx is done.
func natsSay(ctx context.Context, addr string) error {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		if err := exchange(ctx, addr, natsHello+"PUB joined 0\r\n\r\nPING\r\n", natsAnswer); err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}
