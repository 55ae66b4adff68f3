package command

import (
	"encoding"
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/xhit/go-str2duration/v2"

	"github.com/clusterchannel/clusterchannel/backend"
)

// arguments returns the arguments of a command line in the parser's form. An
// argument @FILE stands for the lines of that file. Flags without a command
// belong to the command alertmanager, so that the program can replace
// Alertmanager's own, whose other words for help it knows too.
func arguments(given []string) (all []string, err error) {
	for _, arg := range given {
		file, ok := strings.CutPrefix(arg, "@")
		if !ok || file == "" {
			all = append(all, arg)
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", backend.ErrConfig, arg, err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimRight(line, "\r\n"); line != "" && !strings.HasPrefix(line, "#") {
				all = append(all, line)
			}
		}
	}
	for i, arg := range all {
		if arg == "--help-long" || arg == "--help-man" {
			all[i] = "--help" // which is always long
		}
	}
	if len(all) > 0 && strings.HasPrefix(all[0], "--") && all[0] != "--help" && all[0] != "--version" {
		all = append([]string{"alertmanager"}, all...)
	}
	return all, nil
}

// durations have days and weeks too, as Alertmanager's flags.
var durations = kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("duration", &text); err != nil {
		return err
	}
	d, err := str2duration.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is not a duration, such as 30s, 1h30m or 5d", text)
	}
	target.SetInt(int64(d))
	return nil
}))

// integers may be written as floating point numbers, as Alertmanager's may: charts
// write 1000000 as 1e+06.
var integers = kong.TypeMapper(reflect.TypeFor[int](), kong.MapperFunc(func(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("number", &text); err != nil {
		return err
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n != math.Trunc(n) || math.Abs(n) > 1<<53 {
		return fmt.Errorf("%q is not a whole number", text)
	}
	target.SetInt(int64(n))
	return nil
}))

// choice is one of some words, in upper or lower case.
type choice[T interface{ words() []string }] string

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *choice[T]) UnmarshalText(text []byte) error {
	var of T
	for _, word := range of.words() {
		if strings.EqualFold(word, string(text)) {
			*c = choice[T](word)
			return nil
		}
	}
	return fmt.Errorf("%q is none of %s", text, strings.Join(of.words(), ", "))
}

type (
	logLevels  struct{}
	logFormats struct{}
)

func (logLevels) words() []string  { return []string{"debug", "info", "warn", "error"} }
func (logFormats) words() []string { return []string{"logfmt", "json"} }

var _ encoding.TextUnmarshaler = new(choice[logLevels])
