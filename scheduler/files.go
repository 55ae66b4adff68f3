package scheduler

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
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

// CheckFiles reports whether patterns can be an Options.RuleFiles, with these
// Options.Features, before anything starts. Its error names file and line.
func CheckFiles(patterns []string, features string) error {
	options, err := parse(features)
	if err != nil {
		return err
	}
	_, _, err = load(patterns, options, slog.New(slog.DiscardHandler))
	return err
}

// loaded holds the rule files as they were read. It is the rules.GroupLoader of
// one update, so that the update cannot fail half-way.
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
func load(patterns []string, options parser.Options, logger *slog.Logger) (loaded, []string, error) {
	l := loaded{parser.NewParser(options), map[string]*rulefmt.RuleGroups{}}
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
	l.skipRecording(logger)
	return l, paths, nil
}

// skipRecording removes the recording rules, and the groups that have no
// others. There is no storage. The queried server must record them, or the
// alerting rules beside them would find nothing.
func (l loaded) skipRecording(logger *slog.Logger) {
	skipped := map[string]bool{}
	for _, groups := range l.files {
		groups.Groups = slices.DeleteFunc(groups.Groups, func(g rulefmt.RuleGroup) bool {
			return len(g.Rules) > 0 && len(alerting(g, skipped)) == 0
		})
		for i, g := range groups.Groups {
			groups.Groups[i].Rules = alerting(g, skipped)
		}
	}
	if len(skipped) > 0 {
		logger.Info("recording rules are skipped: the queried server must evaluate them", "rules", slices.Sorted(maps.Keys(skipped)))
	}
}

// alerting lists the group's alerting rules, and notes the others.
func alerting(g rulefmt.RuleGroup, others map[string]bool) (rules []rulefmt.Rule) {
	for _, r := range g.Rules {
		if r.Record == "" {
			rules = append(rules, r)
		} else {
			others[r.Record] = true
		}
	}
	return rules
}

// slow raises the intervals that are below least.
func (l loaded) slow(least time.Duration, logger *slog.Logger) {
	for file, groups := range l.files {
		for i, g := range groups.Groups {
			if own := time.Duration(g.Interval); own != 0 && own < least {
				groups.Groups[i].Interval = model.Duration(least)
				logger.Warn("the interval of a rule group is below the least one, which is used instead", "file", file, "group", g.Name, "interval", own, "least", least)
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

// refused finds groups with the same name, for which package rulefmt reports no
// line. It ignores what is no YAML.
func refused(content []byte) (errs []error) {
	var file struct {
		Groups []struct{ Name yaml.Node }
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
	}
	return errs
}
