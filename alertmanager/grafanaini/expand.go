package grafanaini

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/ini.v1"
)

// maxValue bounds what references to other keys may grow to.
const maxValue = 64 << 10

var (
	expander  = regexp.MustCompile(`\$(|__\w+)\{([^}]+)\}`)
	reference = regexp.MustCompile(`%\(([^)]+)\)s`)
)

func environMap(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		m[name] = value
	}
	return m
}

// expand replaces the variables of the environment in text, then the files.
func (r *reader) expand(text string) (string, error) {
	text, err := replace(text, func(by, arg string) (string, bool, error) {
		if by != "" && by != "__env" {
			return "", false, nil
		}
		value, err := r.lookup(arg)
		return value, true, err
	})
	if err != nil {
		return "", err
	}
	return replace(text, func(by, arg string) (string, bool, error) {
		switch by {
		case "__file":
			content, err := r.sources.ReadFile(arg)
			return strings.TrimSpace(string(content)), true, err
		case "", "__env": // in the value of a variable: taken as it is
			return "", false, nil
		default:
			return "", true, fmt.Errorf("$%s{} is not supported; $__env{NAME} and $__file{/path} are", by)
		}
	})
}

// replace calls by for each expander in text. One that by does not know stays.
func replace(text string, by func(name, arg string) (string, bool, error)) (string, error) {
	var failed error
	text = expander.ReplaceAllStringFunc(text, func(found string) string {
		m := expander.FindStringSubmatch(found)
		value, known, err := by(m[1], m[2])
		switch {
		case failed != nil:
		case err != nil:
			failed = err
		case known:
			return value
		}
		return found
	})
	return text, failed
}

func (r *reader) lookup(name string) (string, error) {
	value, set := r.environ[name]
	switch {
	case name == "HOSTNAME" && value == "":
		return r.sources.Hostname()
	case !set:
		return "", fmt.Errorf("the environment variable %s is not set; set it, or write its value into the file", name)
	}
	return value, nil
}

// interpolate replaces each %(key)s in v by that key of the same section, or else
// of the keys before all sections. One that does not exist stays as it is.
// behind are the keys that lead here.
func (r *reader) interpolate(v value, behind []string) (value, error) {
	behind = append(slices.Clone(behind), v.name)
	var failed error
	size := len(v.text)
	v.text = reference.ReplaceAllStringFunc(v.text, func(found string) string {
		name := reference.FindStringSubmatch(found)[1]
		if failed != nil {
			return found
		}
		if slices.Contains(behind, name) {
			failed = fmt.Errorf("%%(%s)s leads back to the key itself", name)
			return found
		}
		other, ok, err := r.merged(name, behind)
		if err != nil || !ok {
			failed = err
			return found
		}
		if size += len(other.text); size > maxValue {
			failed = fmt.Errorf("%%(%s)s makes it longer than %d bytes", name, maxValue)
			return found
		}
		v.secret = v.secret || other.secret
		return other.text
	})
	return v, failed
}

// outer returns a key that stands before all sections.
func (r *reader) outer(name string) (entry, bool) { return r.doc.get(ini.DefaultSection, name) }
