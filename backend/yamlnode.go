package backend

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// yamlEntry is one key of a YAML mapping.
type yamlEntry struct {
	key   string
	line  int
	value *yaml.Node
}

func (e yamlEntry) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %w: %s", e.line, ErrConfig, fmt.Sprintf(format, args...))
}

// yamlDocument returns the root of the one document in text, or nil where there is
// none.
func yamlDocument(text []byte) (*yaml.Node, error) {
	var doc, next yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, nil
	case err != nil:
		return nil, syntaxError(err)
	}
	switch err := decoder.Decode(&next); {
	case err == nil:
		return nil, fmt.Errorf("line %d: %w: a second document begins", next.Line, ErrConfig)
	case !errors.Is(err, io.EOF):
		return nil, syntaxError(err)
	}
	return doc.Content[0], nil
}

// yamlQuoted is where the library repeats a piece of the text, which may be one of a
// secret.
var yamlQuoted = regexp.MustCompile(`'.*'`)

func syntaxError(err error) error {
	return fmt.Errorf("%w: %s", ErrConfig, yamlQuoted.ReplaceAllString(err.Error(), "'…'"))
}

// yamlEntries returns the entries of a mapping in order. No key is twice.
func yamlEntries(what string, n *yaml.Node) ([]yamlEntry, error) {
	n = yamlResolve(n)
	if n == nil || isYAMLNull(n) {
		return nil, nil
	}
	if n.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: %w: %s: is not a mapping of keys to values", n.Line, ErrConfig, what)
	}
	var all []yamlEntry
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := yamlResolve(n.Content[i])
		e := yamlEntry{key: key.Value, line: n.Content[i].Line, value: yamlResolve(n.Content[i+1])}
		switch {
		case key.Kind != yaml.ScalarNode || key.Value == "":
			return nil, e.errorf("%s: a key is not a plain text", what)
		case seen[e.key]:
			return nil, e.errorf("%s: is given twice", e.key)
		}
		seen[e.key] = true
		all = append(all, e)
	}
	return all, nil
}

// yamlResolve follows an alias to what it stands for.
func yamlResolve(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isYAMLNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func (e yamlEntry) isNull() bool { return isYAMLNull(e.value) }

// scalar returns the value as it is written, and whether there is one.
func (e yamlEntry) scalar() (text string, given bool, err error) {
	if e.value.Kind != yaml.ScalarNode {
		return "", false, e.errorf("%s: is not a single value", e.key)
	}
	return e.value.Value, !e.isNull(), nil
}

// text is scalar for a value that may be a list, which it joins by commas.
func (e yamlEntry) text() (text string, given bool, err error) {
	if e.value.Kind != yaml.SequenceNode {
		text, given, err = e.scalar()
		if err != nil {
			err = e.errorf("%s: is neither a single value nor a list of such", e.key)
		}
		return text, given, err
	}
	items := make([]string, len(e.value.Content))
	for i, n := range e.value.Content {
		n = yamlResolve(n)
		if n.Kind != yaml.ScalarNode || isYAMLNull(n) || n.Value == "" || strings.Contains(n.Value, ",") {
			return "", false, e.errorf("%s: item %d is not a single value without a comma", e.key, i+1)
		}
		items[i] = n.Value
	}
	return strings.Join(items, ","), true, nil
}
