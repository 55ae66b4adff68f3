package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/bench/internal/docs"
)

// report prints the table, and writes it to the docs if asked, with the runs.
func (o options) report(chosen []fault, contenders []system, runs []outcome) error {
	text := table(chosen, contenders, runs)
	if o.write != "" {
		where := fmt.Sprintf("`go run ./bench/delivery%s`, on %d cores, %s/%s, %s:\n\n", o.command, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
		if err := docs.Insert(o.write, "delivery", where+text); err != nil {
			return err
		}
		if err := keepRuns(filepath.Join(o.write, "bench", "delivery.jsonl"), runs); err != nil {
			return err
		}
	}
	_, err := fmt.Print(text)
	return err
}

// table is in Markdown: a row for each fault, a column for each system.
func table(chosen []fault, contenders []system, runs []outcome) string {
	var b strings.Builder
	b.WriteString("| fault |")
	for _, s := range contenders {
		b.WriteString(" " + s.title() + " |")
	}
	b.WriteString("\n" + strings.Repeat("|---", len(contenders)+1) + "|\n")
	for _, f := range chosen {
		b.WriteString("| " + f.title + " |")
		for _, s := range contenders {
			of := slices.DeleteFunc(slices.Clone(runs), func(o outcome) bool { return o.Fault != f.name || o.System != s.name })
			b.WriteString(" " + cell(of) + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// keepRuns writes a line for each run, without what each alert met.
func keepRuns(path string, runs []outcome) error {
	var b strings.Builder
	for _, run := range runs {
		run.Each = nil
		line, err := json.Marshal(run)
		if err != nil {
			return err
		}
		b.Write(append(line, '\n'))
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}
