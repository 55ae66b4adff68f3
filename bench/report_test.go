package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/bench/internal/docs"
)

func TestMedian(t *testing.T) {
	var rounds []cells
	for _, d := range []time.Duration{9 * time.Second, time.Second, 2 * time.Second} {
		rounds = append(rounds, cells{rowP50: took(d)})
	}
	if got := median(rounds)[rowP50].Text; got != "2s" {
		t.Errorf("the median of 9s, 1s and 2s is %s", got)
	}
}

func TestLines(t *testing.T) {
	found := map[role]cells{
		theirRole: {rowP50: took(time.Second), rowBurst: never(time.Minute, "99% missing after 1m0s")},
		ourRole:   {rowP50: took(3 * time.Millisecond), rowBurst: took(2 * time.Second)},
		rawRole:   {rowP50: took(2 * time.Millisecond), rowBurst: took(time.Second)},
	}
	s := suites["redis"]
	text := docs.Table(append(grid{s.head()}, s.lines(10, found)...))
	for _, want := range []string{
		"| 10 | 200 bytes reach all, p50 | 1s | 3ms | 333x | >= 100x | 2ms | 1.5x | <= 1.5x |",
		"| 10 | burst of 20,000 reaches all | 99% missing after 1m0s | 2s | > 30x |  | 1s | 0.5x | >= 0.5x the throughput |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("lacks %q:\n%s", want, text)
		}
	}
	found[formerRole] = cells{rowP50: took(6 * time.Millisecond)}
	beside := s.besideFormer()
	text = docs.Table(append(grid{beside.head()}, beside.lines(10, found)...))
	if want := "| nodes | measured | former | clusterchannel | ratio |\n|---|---|---|---|---|\n| 10 | 200 bytes reach all, p50 | 6ms | 3ms | 2.0x |"; !strings.Contains(text, want) {
		t.Errorf("lacks %q:\n%s", want, text)
	}
	for name, s := range suites {
		for _, line := range s.lines(10, found) {
			if len(line) != len(s.head()) {
				t.Errorf("%s: %d columns under a head of %d: %q", name, len(line), len(s.head()), line)
			}
		}
	}
}

func TestChart(t *testing.T) {
	prices := func(factor float64) []price {
		var all []price
		for _, n := range []int{3, 10, 30} {
			u := usage{In: float64(n) * factor, Bytes: float64(n*n) * 100 * factor}
			all = append(all, price{Nodes: n, Idle: u, Broadcast: u, Join: usage{}})
		}
		return all
	}
	text := growthFigure.chart("a <title>", []series{{"ours", prices(1)}, {"theirs", prices(7)}})
	counts := map[string]int{}
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok {
			counts[e.Name.Local]++
		}
	}
	if counts["polyline"] != 2*len(growthFigure.panels) || strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Errorf("%d lines in %d panels:\n%s", counts["polyline"], len(growthFigure.panels), text)
	}
}

func TestInsert(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "numbers.md")
	if err := os.WriteFile(path, []byte("a\n<!-- bench: x -->\nold\n<!-- end -->\nb\n<!-- bench: y -->\n<!-- end -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := docs.Insert(dir, "x", "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(path)
	if want := "a\n<!-- bench: x -->\n\nnew\n\n<!-- end -->\nb\n<!-- bench: y -->\n<!-- end -->\n"; err != nil || string(b) != want {
		t.Errorf("%v:\n%s", err, b)
	}
	if err := docs.Insert(dir, "z", ""); err == nil {
		t.Error("a section that is not there was written")
	}
}

// TestNumbersHaveAllSections holds docs/numbers.md to the backends.
func TestNumbersHaveAllSections(t *testing.T) {
	b, err := os.ReadFile("../docs/numbers.md")
	if err != nil {
		t.Fatal(err)
	}
	for backend := range suites {
		for _, want := range []string{"<!-- bench: " + backend + " comparison -->", "<!-- bench: " + backend + " growth -->", "(bench/" + backend + ".svg)"} {
			if !strings.Contains(string(b), want) {
				t.Errorf("docs/numbers.md lacks %s", want)
			}
		}
	}
}
