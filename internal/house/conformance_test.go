package house

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance"
)

var ruleLine = regexp.MustCompile(`(?m)^(C\d+) ([^.]+)\. (.*)$`)

// TestChecksAreDocumented compares docs/conformance.md with the suite.
func TestChecksAreDocumented(t *testing.T) {
	var got, want []string
	for _, row := range table(t, read(t, "docs/conformance.md"), "The checks") {
		got = append(got, strings.Join(row, " | "))
	}
	rules := map[string]bool{}
	for _, c := range conformance.Checks() {
		var numbers []string
		for _, m := range ruleLine.FindAllStringSubmatch(c.Rule, -1) {
			numbers = append(numbers, m[1])
			rules[fmt.Sprintf("%3s | %s | %s", m[1], m[2], m[3])] = true
		}
		want = append(want, strings.Join([]string{c.Name, c.Level, c.Holds, strings.Join(numbers, " ")}, " | "))
	}
	compare(t, "docs/conformance.md, The checks", got, want)

	got = nil
	for _, row := range table(t, read(t, "docs/conformance.md"), "The contract") {
		got = append(got, fmt.Sprintf("%3s | %s | %s", row[0], row[1], row[2]))
	}
	compare(t, "docs/conformance.md, The contract", got, slices.Sorted(maps.Keys(rules)))
}

// TestReadmeCountsTheChecks wants the number in README.md to be that of the suite.
func TestReadmeCountsTheChecks(t *testing.T) {
	if want := fmt.Sprintf("%d checks, ", len(conformance.Checks())); !strings.Contains(read(t, "README.md"), want) {
		t.Errorf("README.md does not say %q", want)
	}
}
