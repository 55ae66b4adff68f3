package scheduler

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/clusterchannel/clusterchannel/backend"
)

// CheckFiles tells whether patterns can be an Options.RuleFiles, before anything
// else is begun. Its error names file and line.
func CheckFiles(patterns []string) error {
	_, _, err := load(patterns, slog.New(slog.DiscardHandler))
	return err
}

// loaded holds rule files as they were when they were read. It is the
// rules.GroupLoader of one update, which so cannot fail half-way.
type loaded struct {
	parser.Parser
	files map[string]*rulefmt.RuleGroups
}

// Load implements rules.GroupLoader.
func (l loaded) Load(file string, _ bool, _ model.ValidationScheme) (*rulefmt.RuleGroups, []error) {
	return l.files[file], nil
}

// Parse implements rules.GroupLoader.
func (l loaded) Parse(expr string) (parser.Expr, error) { return l.ParseExpr(expr) }

// load reads the files that match, and lists them.
func load(patterns []string, logger *slog.Logger) (loaded, []string, error) {
	l := loaded{parser.NewParser(parser.Options{}), map[string]*rulefmt.RuleGroups{}}
	paths, err := match(patterns, logger)
	if err != nil {
		return l, nil, err
	}
	var failed []error
	for _, path := range paths {
		groups, errs := read(path, l.Parser, logger)
		l.files[path] = groups
		failed = append(failed, errs...)
	}
	if len(failed) > 0 {
		return l, nil, fmt.Errorf("%w: rule file: %w", backend.ErrConfig, errors.Join(failed...))
	}
	return l, paths, nil
}

// slow raises the intervals that are below least.
func (l loaded) slow(least time.Duration, logger *slog.Logger) {
	for file, groups := range l.files {
		for i, g := range groups.Groups {
			if own := time.Duration(g.Interval); own != 0 && own < least {
				groups.Groups[i].Interval = model.Duration(least)
				logger.Warn("the interval of a rule group is below the least one, which it gets", "file", file, "group", g.Name, "interval", own, "least", least)
			}
		}
	}
}

// match lists the files once each. A path that is no pattern must exist.
func match(patterns []string, logger *slog.Logger) ([]string, error) {
	var paths []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%w: rule file %q: %w", backend.ErrConfig, pattern, err)
		}
		if len(found) == 0 {
			if !strings.ContainsAny(pattern, `*?[\`) {
				return nil, fmt.Errorf("%w: rule file %q: %w", backend.ErrConfig, pattern, os.ErrNotExist)
			}
			logger.Warn("no rule file matches", "pattern", pattern)
		}
		for _, path := range found {
			paths = append(paths, filepath.Clean(path))
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// read reads one file. Its errors name file and line.
func read(path string, p parser.Parser, logger *slog.Logger) (*rulefmt.RuleGroups, []error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, []error{err}
	}
	errs := refused(content)
	var groups *rulefmt.RuleGroups
	if len(errs) == 0 {
		groups, errs = rulefmt.Parse(content, false, model.UTF8Validation, p, logger)
	}
	for i := range errs {
		errs[i] = fmt.Errorf("%s: %w", path, errs[i])
	}
	return groups, errs
}

// refused finds what package rulefmt would let through, or not say the line of.
// It leaves alone what is no YAML.
func refused(content []byte) (errs []error) {
	var file struct {
		Groups []struct {
			Name  yaml.Node
			Rules []struct{ Record yaml.Node }
		}
	}
	if yaml.Unmarshal(content, &file) != nil {
		return nil
	}
	lines := map[string]int{}
	for _, g := range file.Groups {
		if line := lines[g.Name.Value]; line != 0 {
			errs = append(errs, fmt.Errorf("%d:%d: group %q is the second of this name, after line %d", g.Name.Line, g.Name.Column, g.Name.Value, line))
		}
		lines[g.Name.Value] = g.Name.Line
		for _, r := range g.Rules {
			if r.Record.Line != 0 {
				errs = append(errs, fmt.Errorf("%d:%d: %q is a recording rule, and there is no storage to record to; leave it to the server that is queried",
					r.Record.Line, r.Record.Column, r.Record.Value))
			}
		}
	}
	return errs
}
