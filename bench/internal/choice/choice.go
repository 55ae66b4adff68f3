// Package choice reads the flags that say what is measured.
package choice

import (
	"flag"
	"fmt"
	"slices"
	"strings"
)

// Names is all, as a list that Of reads.
func Names[T any](all []T, name func(T) string) string {
	list := make([]string, len(all))
	for i, one := range all {
		list[i] = name(one)
	}
	return strings.Join(list, ",")
}

// Of returns those of all that a list names, separated by commas, in its order. The flag
// is what the list was given with.
func Of[T any](flag, list string, all []T, name func(T) string) (some []T, err error) {
	for one := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(of T) bool { return name(of) == one })
		if i < 0 {
			return nil, fmt.Errorf("-%s: %q is none of %s", flag, one, Names(all, name))
		}
		some = append(some, all[i])
	}
	return some, nil
}

// Given is the flags that were given, as they are given again, but for those that say
// where something is written.
func Given(flags *flag.FlagSet, written ...string) (given string) {
	flags.Visit(func(f *flag.Flag) {
		if !slices.Contains(written, f.Name) {
			given += " -" + f.Name + " " + f.Value.String()
		}
	})
	return given
}
