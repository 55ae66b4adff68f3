// Command states measures a replicated.Map of a million entries, beside a plain Go map of
// the same, beside dskit's ring, the nearest that is used for replicated data today: a map
// that is merged by the time of each entry, and kept and sent as a whole; and beside
// olric's DMap, which is divided among its nodes. Serf has nothing to compare: what a node
// tells the others by it is an event of 9 KiB at most, of which the last 512 are kept, or a
// tag, all of which have 512 bytes together.
//
//	go run ./bench/states
//	go run ./bench/states -entries 100000
//
// An entry is a key of 15 bytes and a value of 100. One system is measured after the other,
// without a network; those of others in modules that are made for them, so go must be there.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/clusterchannel/clusterchannel/bench/internal/docs"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "states:", err)
		os.Exit(1)
	}
}

//go:embed measure.go testdata/dskit testdata/olric
var sources embed.FS

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("states", flag.ExitOnError)
	n := flags.Int("entries", 1_000_000, "how many there are")
	write := flags.String("write", "", "the `directory` docs: put the table into its numbers.md")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "states")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := newBench(*n, dir)
	lines := [][]string{{fmt.Sprintf("%d entries", *n)}}
	for _, title := range titles {
		lines = append(lines, []string{title})
	}
	for _, measure := range []func() ([]string, error){
		func() ([]string, error) { return b.measure(ctx, plainMap) },
		func() ([]string, error) { return foreign(ctx, dir, "dskit", *n) },
		func() ([]string, error) { return foreign(ctx, dir, "olric", *n) },
		func() ([]string, error) { return b.measure(ctx, replicatedMap) },
	} {
		cells, err := measure()
		if err != nil {
			return err
		}
		for i := range lines {
			lines[i] = append(lines[i], cells[i])
		}
	}
	return docs.Publish(*write, "states", fmt.Sprint(" -entries ", *n), docs.Table(lines))
}

// foreign measures what others made in a program and a module of its own, since it needs
// other versions of some libraries than this module, and dskit a fork of memberlist.
func foreign(ctx context.Context, dir, name string, entries int) (cells []string, err error) {
	dir = filepath.Join(dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	from := "testdata/" + name + "/"
	for from, to := range map[string]string{"measure.go": "measure.go", from + name + ".go": name + ".go", from + "go.mod.txt": "go.mod"} {
		text, err := sources.ReadFile(from)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, to), text, 0o600); err != nil {
			return nil, err
		}
	}
	run := func(args ...string) ([]byte, error) {
		c := exec.CommandContext(ctx, args[0], args[1:]...)
		c.Dir, c.Env, c.Stderr = dir, append(os.Environ(), "GOWORK=off"), os.Stderr
		return c.Output()
	}
	for _, args := range [][]string{{"go", "mod", "tidy"}, {"go", "build", "-o", name, "."}} {
		if _, err := run(args...); err != nil {
			return nil, fmt.Errorf("%s: %v: %w", name, args, err)
		}
	}
	out, err := run(filepath.Join(dir, name), fmt.Sprint(entries))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return cells, json.Unmarshal(out, &cells)
}
