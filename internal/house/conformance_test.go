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

var ruleLine = regexp.MustCompile(`(?m)^(C\d+) [^.]+\. .*$`)

// TestChecksAreDocumented compares docs/conformance.md and docs/contract.md with
// the suite.
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
			rules[m[0]] = true
		}
		want = append(want, strings.Join([]string{c.Name, c.Level, c.Holds, strings.Join(numbers, " ")}, " | "))
	}
	compare(t, "docs/conformance.md, The checks", got, want)

	var contract []string
	clauses, _, _ := strings.Cut(read(t, "docs/contract.md"), "\n## Budgets")
	for _, c := range strings.Split(clauses, "\n- **")[1:] {
		c, _, _ = strings.Cut(c, "\n## ")
		contract = append(contract, strings.Join(strings.Fields(strings.NewReplacer(".** ", ". ", "`", "").Replace(c)), " "))
	}
	slices.Sort(contract)
	compare(t, "docs/contract.md", contract, slices.Sorted(maps.Keys(rules)))
}

// TestReadmeCountsTheChecks wants the number in README.md to be that of the suite.
func TestReadmeCountsTheChecks(t *testing.T) {
	if want := fmt.Sprintf("%d checks, ", len(conformance.Checks())); !strings.Contains(read(t, "README.md"), want) {
		t.Errorf("README.md does not say %q", want)
	}
}
