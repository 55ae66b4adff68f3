package grafanaini

import (
	"errors"
	"fmt"
	"strings"

	"gopkg.in/ini.v1"

	"github.com/clusterchannel/clusterchannel/backend"
)

// document is a parsed file.
type document struct {
	name     string
	sections []*ini.Section
	lines    map[place][]line
}

// place is the section and the name of a key.
type place struct{ section, key string }

// line is one line that sets a key, as it is written.
type line struct {
	number int
	value  string
}

// entry is a key of the file that is not empty.
type entry struct {
	text string
	line int
}

// parse parses text. Its errors show no part of it: any part may belong to a
// secret.
func parse(name string, text []byte) (*document, error) {
	file, err := ini.LoadSources(ini.LoadOptions{AllowShadows: true, AllowDuplicateShadowValues: true}, text)
	if err != nil {
		return nil, syntaxError(name, string(text), err)
	}
	return &document{name: name, sections: file.Sections(), lines: locate(string(text))}, nil
}

func syntaxError(name, text string, err error) error {
	culprit, why := "", "has a section or a quote that is not closed"
	if e, ok := errors.AsType[ini.ErrDelimiterNotFound](err); ok {
		culprit, why = e.Line, `is no section, no "key = value" and no comment`
	}
	if e, ok := errors.AsType[ini.ErrEmptyKeyName](err); ok {
		culprit, why = e.Line, `has no key before the "="`
	}
	for i, l := range strings.Split(text, "\n") {
		if culprit != "" && strings.TrimSpace(l) == strings.TrimSpace(culprit) {
			return fmt.Errorf("%s: line %d: %w: %s", name, i+1, backend.ErrConfig, why)
		}
	}
	return fmt.Errorf("%s: %w: %s", name, backend.ErrConfig, why)
}

// locate finds the lines that set keys, which the library does not report.
func locate(text string) map[place][]line {
	lines := map[place][]line{}
	in := ini.DefaultSection
	for i, l := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		l = strings.TrimSpace(l)
		if l == "" || l[0] == '#' || l[0] == ';' {
			continue
		}
		if end := strings.LastIndexByte(l, ']'); l[0] == '[' && end > 0 {
			in = l[1:end]
			continue
		}
		if at := strings.IndexAny(l, "=:"); at > 0 {
			p := place{in, strings.Trim(strings.TrimSpace(l[:at]), "\"`")}
			lines[p] = append(lines[p], line{i + 1, strings.TrimSpace(l[at+1:])})
		}
	}
	return lines
}

// get returns a key of the file. An empty one counts as not given.
func (d *document) get(in, name string) (entry, bool) {
	for _, s := range d.sections {
		if s.Name() == in && s.HasKey(name) {
			values := s.Key(name).ValueWithShadows()
			if len(values) == 0 {
				return entry{}, false
			}
			return entry{values[len(values)-1], d.line(in, name)}, true
		}
	}
	return entry{}, false
}

// line returns the number of the last line that sets a key, or 0.
func (d *document) line(in, name string) int {
	found := d.lines[place{in, name}]
	if len(found) == 0 {
		return 0
	}
	return found[len(found)-1].number
}

// where names a key's place for an error.
func (d *document) where(in, name string) string {
	if n := d.line(in, name); n > 0 {
		return fmt.Sprintf("%s: line %d", d.name, n)
	}
	return d.name
}

func (d *document) errorf(in, name, format string, args ...any) error {
	return fmt.Errorf("%s: %w: [%s] %s: %w", d.where(in, name), backend.ErrConfig, in, name, fmt.Errorf(format, args...))
}
