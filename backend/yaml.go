package backend

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// LoadFile reads a Config from a YAML file, as [ParseYAML] does. Errors name the
// file; that it cannot be read is an error that wraps ErrConfig and the cause.
func LoadFile(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c, err := ParseYAML(text)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// ParseYAML reads a Config from one YAML document:
//
//	backend: memberlist
//	cluster: alerts
//	name: node-1
//	on_isolation: alone
//	timing: {heartbeat: 500ms}
//	meta: {zone: eu}
//	memberlist:
//	  peers: [a:9094, b:9094]
//	redis:
//	  address: localhost:6379
//
// The top-level keys are [Keys], of which heartbeat, grace, settle and sync stand
// under timing; meta; and a block of parameters for each registered backend.
// backend chooses the block, so that switching is one key; the others are read
// for their form alone. In a block a list becomes its items joined by commas,
// and a key without a value counts as not given.
//
// Any other key, a key given twice and nesting anywhere else are errors, which
// wrap ErrConfig and name the line. They never show a value of a block.
func ParseYAML(text []byte) (Config, error) {
	root, err := yamlDocument(text)
	if err != nil {
		return Config{}, err
	}
	top, err := yamlEntries("the document", root)
	if err != nil {
		return Config{}, err
	}
	var s settings
	blocks := map[string]map[string]string{}
	var unknown []yamlEntry
	for _, e := range top {
		switch {
		case e.key == "meta":
			s.meta, err = yamlBlock(e)
		case e.key == "timing":
			err = addTiming(&s, e)
		case isTiming(e.key):
			err = e.errorf("%s: belongs under timing", e.key)
		case isFixed(e.key):
			err = addFixed(&s, e)
		case slices.Contains(Registered(), e.key):
			blocks[e.key], err = yamlBlock(e)
		default:
			unknown = append(unknown, e)
		}
		if err != nil {
			return Config{}, err
		}
	}
	chosen := s.fixed["backend"]
	if len(unknown) > 0 {
		return Config{}, unknownEntry(unknown[0], chosen)
	}
	s.params = blocks[chosen]
	return s.config()
}

// unknownEntry is the error for a top-level key that is neither fixed nor a
// registered backend.
func unknownEntry(e yamlEntry, chosen string) error {
	if e.key == chosen {
		return fmt.Errorf("line %d: %w", e.line, unknownBackend(chosen))
	}
	known := []string{"meta", "timing"}
	for _, k := range Keys() {
		if !isTiming(k.Name) {
			known = append(known, k.Name)
		}
	}
	known = append(known, Registered()...)
	slices.Sort(known)
	meant := ""
	if near := params.Closest(e.key, known); near != "" {
		meant = fmt.Sprintf(", did you mean %q?", near)
	}
	return e.errorf("%q is neither a key nor a registered backend%s (known: %s)", e.key, meant, strings.Join(known, ", "))
}

func isTiming(key string) bool {
	return slices.ContainsFunc(params.Keys(timingKeys{}), func(k params.Key) bool { return k.Name == key })
}

// addFixed takes one fixed key, checked here so that the error knows the line.
func addFixed(s *settings, e yamlEntry) error {
	value, given, err := e.scalar()
	if err != nil || !given {
		return err
	}
	if err := params.Overlay(map[string]string{e.key: value}, &fixedKeys{}); err != nil {
		return fmt.Errorf("line %d: %w", e.line, err)
	}
	return putOnce(&s.fixed, e.key, value)
}

func addTiming(s *settings, timing yamlEntry) error {
	if timing.isNull() {
		return nil
	}
	all, err := yamlEntries(timing.key, timing.value)
	if err != nil {
		return err
	}
	for _, e := range all {
		if !isTiming(e.key) {
			err := params.Overlay(map[string]string{e.key: ""}, &timingKeys{})
			return fmt.Errorf("line %d: timing: %w", e.line, err)
		}
		if err := addFixed(s, e); err != nil {
			return err
		}
	}
	return nil
}

// yamlBlock reads a mapping of scalars and lists of scalars.
func yamlBlock(b yamlEntry) (map[string]string, error) {
	if b.isNull() {
		return nil, nil
	}
	all, err := yamlEntries(b.key, b.value)
	if err != nil {
		return nil, err
	}
	var values map[string]string
	for _, e := range all {
		value, given, err := e.text()
		if err != nil {
			return nil, err
		}
		if !given {
			continue
		}
		if err := putOnce(&values, e.key, value); err != nil {
			return nil, err
		}
	}
	return values, nil
}
