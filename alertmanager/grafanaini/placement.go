package grafanaini

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// checkPlaces refuses keys that Grafana would not see, and returns the keys
// that are not understood.
func (r *reader) checkPlaces() (foreign []Ignored, err error) {
	for _, s := range r.doc.sections {
		if s.Name() != section && strings.EqualFold(strings.TrimSpace(s.Name()), section) {
			return nil, fmt.Errorf("%s: %w: [%s]: the section is written [%s]", r.doc.name, backend.ErrConfig, s.Name(), section)
		}
		for _, k := range s.Keys() {
			known, ok := find(k.Name())
			switch {
			case s.Name() != section && ok && known.group != alerting:
				return nil, r.doc.errorf(s.Name(), k.Name(), "has no effect in this section; put it under [%s]", section)
			case s.Name() != section && isGrafanasOwn(s.Name(), k.Name()):
				foreign = append(foreign, Ignored{"[" + s.Name() + "] " + k.Name(), r.doc.line(s.Name(), k.Name()), whyOwn})
			case s.Name() != section:
			case ok:
				if err := r.checkWritten(k.Name(), len(k.ValueWithShadows())); err != nil {
					return nil, err
				}
			case isHA(k.Name()):
				return nil, r.doc.errorf(section, k.Name(), "%w", unknown(k.Name()))
			default:
				foreign = append(foreign, Ignored{k.Name(), r.doc.line(section, k.Name()), whyForeign(k.Name())})
			}
		}
	}
	variables, err := r.checkVariables()
	return append(foreign, variables...), err
}

// checkWritten refuses a key that is given more than once, and a value that a
// comment cuts in two.
func (r *reader) checkWritten(name string, times int) error {
	if times > 1 {
		return r.doc.errorf(section, name, "is given %d times; leave one", times)
	}
	for _, l := range r.doc.lines[place{section, name}] {
		if strings.HasPrefix(l.value, "`") || strings.HasPrefix(l.value, `"""`) || strings.HasSuffix(l.value, `\`) {
			continue
		}
		at := strings.IndexAny(l.value, "#;")
		if at < 1 {
			continue
		}
		before := l.value[:at]
		closed := before[0] != '"' && before[0] != '\'' || strings.Count(before, before[:1])%2 == 0
		if strings.HasSuffix(before, " ") && closed || strings.HasSuffix(before, "\t") && closed {
			continue
		}
		return r.doc.errorf(section, name, "the %q in the value begins a comment, even inside quotes; "+
			"put the value in backquotes, or a space before a comment", l.value[at:at+1])
	}
	return nil
}

// variableOf is the variable that overrides a key of the file.
func variableOf(in, name string) string {
	return "GF_" + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(in+"_"+name))
}

func variable(name string) string { return variableOf(section, name) }

// checkVariables refuses variables for keys of high availability that do not exist,
// and returns the others that are not understood.
func (r *reader) checkVariables() (foreign []Ignored, err error) {
	for _, name := range slices.Sorted(maps.Keys(r.environ)) {
		rest, ours := strings.CutPrefix(name, variable(""))
		if r.environ[name] == "" {
			continue // as if it were not there
		}
		key := strings.ToLower(rest)
		_, known := find(key)
		known = known && variable(key) == name
		switch {
		case ours && isHA(rest) && strings.HasSuffix(name, "__FILE"):
			return nil, fmt.Errorf("%s: %w: only Grafana's own image reads it; set %s=$__file{/path}", name, backend.ErrConfig, strings.TrimSuffix(name, "__FILE"))
		case ours && isHA(rest) && !known:
			return nil, fmt.Errorf("%s: %w: %w", name, backend.ErrConfig, unknown(key))
		case isOwnVariable(name):
			foreign = append(foreign, Ignored{Key: name, Why: whyOwn})
		case ours && !known:
			foreign = append(foreign, Ignored{Key: name, Why: whyForeign(key)})
		}
	}
	return foreign, nil
}

func unknown(name string) error {
	known := names(true)
	meant := ""
	if near := params.Closest(strings.ToLower(name), known); near != "" {
		meant = fmt.Sprintf(", did you mean %s?", near)
	}
	return fmt.Errorf("is not a known key%s (known: %s)", meant, strings.Join(known, ", "))
}

const whyOwn = "a setting of Grafana's own, without meaning here"

func whyForeign(name string) string {
	for _, own := range grafanasOwn {
		if own == name {
			return whyOwn
		}
	}
	if near := params.Closest(strings.ToLower(name), append(names(false), grafanasOwn...)); near != "" {
		return fmt.Sprintf("not a known key; did you mean %s?", near)
	}
	return "not a key of high availability"
}
