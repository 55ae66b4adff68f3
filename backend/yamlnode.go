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

// entry is one key of a YAML mapping.
type entry struct {
	key   string
	line  int
	value *yaml.Node
}

func (e entry) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %w: %s", e.line, ErrConfig, fmt.Sprintf(format, args...))
}

// document returns the root of the one document in text, or nil where there is
// none.
func document(text []byte) (*yaml.Node, error) {
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

// quoted is where the library repeats a piece of the text, which may be one of a
// secret.
var quoted = regexp.MustCompile(`'.*'`)

func syntaxError(err error) error {
	return fmt.Errorf("%w: %s", ErrConfig, quoted.ReplaceAllString(err.Error(), "'…'"))
}

// entriesOf returns the entries of a mapping in order. No key is twice.
func entriesOf(what string, n *yaml.Node) ([]entry, error) {
	n = resolve(n)
	if n == nil || isNull(n) {
		return nil, nil
	}
	if n.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: %w: %s: is not a mapping of keys to values", n.Line, ErrConfig, what)
	}
	var all []entry
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := resolve(n.Content[i])
		e := entry{key: key.Value, line: n.Content[i].Line, value: resolve(n.Content[i+1])}
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

// resolve follows an alias to what it stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func (e entry) isNull() bool { return isNull(e.value) }

// scalar returns the value as it is written, and whether there is one.
func (e entry) scalar() (text string, given bool, err error) {
	if e.value.Kind != yaml.ScalarNode {
		return "", false, e.errorf("%s: is not a single value", e.key)
	}
	return e.value.Value, !e.isNull(), nil
}

// text is scalar for a value that may be a list, which it joins by commas.
func (e entry) text() (text string, given bool, err error) {
	if e.value.Kind != yaml.SequenceNode {
		text, given, err = e.scalar()
		if err != nil {
			err = e.errorf("%s: is neither a single value nor a list of such", e.key)
		}
		return text, given, err
	}
	items := make([]string, len(e.value.Content))
	for i, n := range e.value.Content {
		n = resolve(n)
		if n.Kind != yaml.ScalarNode || isNull(n) || n.Value == "" || strings.Contains(n.Value, ",") {
			return "", false, e.errorf("%s: item %d is not a single value without a comma", e.key, i+1)
		}
		items[i] = n.Value
	}
	return strings.Join(items, ","), true, nil
}
