package server

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Slots is how many a Cluster has.
const Slots = 16384

// Topology is what a server of a Cluster knows of all of them.
type Topology struct {
	Masters int      // that own slots
	Alive   int      // of these, that it holds to be alive
	Lost    []string // addresses of the others
	Orphans int      // slots that nobody owns, or one that is lost
	Moving  int      // slots that are on their way to this server, or from it
}

// readTopology reads what CLUSTER NODES answers.
func readTopology(nodes string) Topology {
	const address, flags, slots = 1, 2, 8 // columns
	t, owned := Topology{}, 0
	for line := range strings.Lines(nodes) {
		f := strings.Fields(line)
		if len(f) <= slots {
			continue
		}
		of := strings.Split(f[flags], ",")
		if !slices.Contains(of, "master") {
			continue
		}
		count, moving := countSlots(f[slots:])
		t.Moving += moving
		t.Masters++
		if slices.ContainsFunc(of, func(flag string) bool { return slices.Contains([]string{"fail", "fail?", "handshake", "noaddr"}, flag) }) {
			addr, _, _ := strings.Cut(f[address], "@")
			t.Lost = append(t.Lost, addr)
			continue
		}
		t.Alive++
		owned += count
	}
	t.Orphans = Slots - owned
	return t
}

// countSlots counts the slots of a server, "7" and "0-5460", and those on the move,
// "[93-<-id]" and "[77->-id]".
func countSlots(ranges []string) (owned, moving int) {
	for _, r := range ranges {
		if strings.HasPrefix(r, "[") {
			moving++
			continue
		}
		first, last, many := strings.Cut(r, "-")
		if !many {
			last = first
		}
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err == nil && err2 == nil {
			owned += to - from + 1
		}
	}
	return owned, moving
}

// Placed is how a server stands in its Cluster, and what it knows of the others.
type Placed struct {
	Standing
	Knows Topology // zero where it must not be asked
}

// AskMasters returns how each server of config stands in the Cluster, in the order
// of the addresses.
func AskMasters(ctx context.Context, config *Config, logger *slog.Logger) []Placed {
	c := New(config, logger)
	defer c.Close()
	defer context.AfterFunc(ctx, c.end)()
	all := make([]Placed, len(config.Options.Addrs))
	var asking sync.WaitGroup
	for i, addr := range config.Options.Addrs {
		asking.Go(func() {
			asked := config.to(c.life, addr)
			defer asked.Close() //nolint:errcheck // it has answered
			all[i].Standing = look(ctx, asked, addr)
			if nodes, err := asked.ClusterNodes(ctx).Result(); err == nil {
				all[i].Knows = readTopology(nodes)
			}
		})
	}
	asking.Wait()
	return all
}
