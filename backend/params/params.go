package params

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// Decode sets the fields of the struct that into points to from raw, or from
// their defaults if raw lacks the key.
//
// A value in raw that cannot be used is an error that wraps driver.ErrConfig,
// names the key, shows the value unless it is secret, and says what would be
// valid; the struct is then incomplete. A struct that does not follow the
// package comment is another error. Decode neither keeps nor changes raw.
func Decode(raw map[string]string, into any) error {
	fields, err := fieldsOf(into)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if _, given := f.tag.Lookup("default"); !given {
			continue
		}
		if err := f.set(f.Default); err != nil {
			return fmt.Errorf("params: default of %s: %w", f.Name, err)
		}
	}
	if err := overlay(raw, fields); err != nil {
		return err
	}
	for _, f := range fields {
		if f.Required && raw[f.Name] == "" && (f.Alias == "" || raw[f.Alias] == "") {
			return Bad(f.Name, "is required")
		}
	}
	return nil
}

// Overlay is [Decode] for one of several layers: it sets the fields whose keys
// are in raw and leaves the others as they are. It ignores defaults, and
// whether a key is required.
func Overlay(raw map[string]string, into any) error {
	fields, err := fieldsOf(into)
	if err != nil {
		return err
	}
	return overlay(raw, fields)
}

func overlay(raw map[string]string, fields []field) error {
	byName := make(map[string]field, len(fields))
	known := make([]string, len(fields))
	for i, f := range fields {
		known[i] = f.Name
		byName[f.Name] = f
		if f.Alias != "" {
			byName[f.Alias] = f
		}
	}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		if _, ok := byName[name]; !ok {
			return unknown(name, known, slices.Sorted(maps.Keys(byName)))
		}
	}
	for _, f := range fields {
		value, given := raw[f.Name]
		alias, aliased := raw[f.Alias]
		switch {
		case given && aliased && f.Alias != "":
			return Bad(f.Name, "is given twice, also as %s", f.Alias)
		case aliased && f.Alias != "":
			value, given = alias, true
		}
		if !given {
			continue
		}
		if err := f.set(value); err != nil {
			return err
		}
	}
	return nil
}

// unknown is the error for a name that is neither a known key nor one of the
// candidates, which are known keys and aliases.
func unknown(name string, known, candidates []string) error {
	meant := ""
	if near := Closest(name, candidates); near != "" {
		meant = fmt.Sprintf(", did you mean %q?", near)
	}
	valid := cmp.Or(strings.Join(slices.Sorted(slices.Values(known)), ", "), "none")
	return fmt.Errorf("%w: %q is not a known key%s (known keys: %s)", driver.ErrConfig, shorten(name), meant, valid)
}

// Key describes one key of a block of parameters.
type Key struct {
	Name     string
	Alias    string   // a second name, or empty
	Type     string   // string, bool, integer, duration, size, list, or the name of a Go type
	Default  string   // as text; empty means the zero value of the type
	OneOf    []string // the valid values, if they are few
	Secret   bool
	Required bool
}

// Keys returns the keys of block, a struct or a pointer to one, in the order of its
// fields. It panics if block is neither: that is a mistake in the program.
func Keys(block any) []Key {
	t := reflect.TypeOf(block)
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("params: Keys(%T): not a struct", block))
	}
	fields, err := fieldsOf(reflect.New(t).Interface())
	if err != nil {
		panic(err.Error())
	}
	keys := make([]Key, len(fields))
	for i, f := range fields {
		keys[i] = f.Key
	}
	return keys
}
