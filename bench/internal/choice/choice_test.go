package choice_test

import (
	"flag"
	"slices"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/bench/internal/choice"
)

func TestChoice(t *testing.T) {
	all, name := []string{"A", "B", "C"}, strings.ToLower
	if got := choice.Names(all, name); got != "a,b,c" {
		t.Errorf("the names are %q", got)
	}
	if got, err := choice.Of("which", "c,a", all, name); err != nil || !slices.Equal(got, []string{"C", "A"}) {
		t.Errorf("c,a are %q, %v", got, err)
	}
	if _, err := choice.Of("which", "a,d", all, name); err == nil || err.Error() != `-which: "d" is none of a,b,c` {
		t.Errorf("what is not there: %v", err)
	}
}

func TestGiven(t *testing.T) {
	flags := flag.NewFlagSet("x", flag.ContinueOnError)
	for _, name := range []string{"rounds", "write", "unset"} {
		flags.String(name, "", "")
	}
	if err := flags.Parse([]string{"-write", "docs", "-rounds", "2"}); err != nil {
		t.Fatal(err)
	}
	if got := choice.Given(flags, "write"); got != " -rounds 2" {
		t.Errorf("the flags are %q", got)
	}
}
