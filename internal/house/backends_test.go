package house

import (
	"go/ast"
	"go/doc/comment"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// headings of the package comment of every backend, in order.
var headings = []string{"Parameters", "Delivery", "Membership", "When the server is lost", "Server footprint"}

// backendPackages returns the sources of each backend, by its directory: ours, and
// the example of a third party's.
func backendPackages(t *testing.T) map[string][]source {
	t.Helper()
	packages := map[string][]source{}
	for _, s := range sources(t) {
		if !s.test && (path.Dir(s.dir) == "backends" && s.dir != "backends/all" || s.dir == "examples/postgres") {
			packages[s.dir] = append(packages[s.dir], s)
		}
	}
	if len(packages) == 0 {
		t.Fatal("there are no backends")
	}
	return packages
}

// sections returns the text of the package comment under each heading, and the
// headings in order.
func sections(files []source) (text map[string]string, order []string) {
	text = map[string]string{}
	for _, s := range files {
		var p comment.Parser
		var printer comment.Printer
		heading := ""
		for _, block := range p.Parse(s.file.Doc.Text()).Content {
			if h, ok := block.(*comment.Heading); ok {
				heading = strings.TrimSpace(string(printer.Text(&comment.Doc{Content: []comment.Block{&comment.Paragraph{Text: h.Text}}})))
				order = append(order, heading)
				continue
			}
			text[heading] += string(printer.Text(&comment.Doc{Content: []comment.Block{block}}))
		}
	}
	return text, order
}

func TestBackendsHaveTheSameHeadings(t *testing.T) {
	for dir, files := range backendPackages(t) {
		text, order := sections(files)
		if !slices.Equal(order, headings) {
			t.Errorf("%s: the package comment has the headings %q, want %q", dir, order, headings)
		}
		for _, h := range headings {
			if strings.TrimSpace(text[h]) == "" {
				t.Errorf("%s: nothing is said under %q", dir, h)
			}
		}
	}
}

// TestBackendParametersAreDocumented reads the tags that package params decodes
// by. Each key has, under Parameters, a row with its default and alias; or that
// section refers to the exported struct Params, which shows the tags, and a
// comment in it speaks of each field.
func TestBackendParametersAreDocumented(t *testing.T) {
	for dir, files := range backendPackages(t) {
		text, _ := sections(files)
		rows := parameterRows(text["Parameters"])
		refers := slices.ContainsFunc(files, func(s source) bool { return strings.Contains(s.file.Doc.Text(), "# Parameters\n\n[Params]") })
		for _, p := range parameters(t, files) {
			key := p.tag.Get("param")
			row, ok := rows[key]
			switch {
			case refers && p.in == "Params":
				if !p.documented {
					t.Errorf("%s: no comment in Params speaks of %s", dir, p.name)
				}
				continue
			case !ok:
				t.Errorf("%s: the parameter %s has no row under Parameters", dir, key)
				continue
			case p.tag.Get("required") == "true" && !strings.Contains(row, "required"):
				t.Errorf("%s: the row of %s does not say that it is required: %s", dir, key, row)
			}
			for _, name := range []string{"default", "alias"} {
				if v := p.tag.Get(name); v != "" && !strings.Contains(row, v) {
					t.Errorf("%s: the row of %s does not state its %s, %s: %s", dir, key, name, v, row)
				}
			}
			delete(rows, key)
		}
		for key := range rows {
			t.Errorf("%s: Parameters has a row for %s, which is no key", dir, key)
		}
	}
}

// parameterRows returns what is said of each key: a row begins, on a line of its
// own or indented, with the key, and a colon or a blank.
func parameterRows(text string) map[string]string {
	rows := map[string]string{}
	key := ""
	for line := range strings.Lines(text) {
		if m := parameterRow.FindStringSubmatch(line); m != nil {
			key = m[1] + m[2]
		}
		if key != "" {
			rows[key] += line
		}
	}
	return rows
}

var parameterRow = regexp.MustCompile(`^(?:([a-z0-9_]+):|\s+(?:- )?([a-z0-9_]+)[: ])`)

// parameter is one field that package params decodes.
type parameter struct {
	in, name   string // the struct's name and the field's
	tag        reflect.StructTag
	documented bool // a comment in the struct names the field
}

func parameters(t *testing.T, files []source) []parameter {
	t.Helper()
	var all []parameter
	for _, s := range files {
		ast.Inspect(s.file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if st, ok := spec.Type.(*ast.StructType); ok {
				all = append(all, fields(t, spec.Name.Name, st)...)
			}
			return true
		})
	}
	return all
}

func fields(t *testing.T, in string, st *ast.StructType) []parameter {
	t.Helper()
	comments := ""
	for _, f := range st.Fields.List {
		comments += f.Doc.Text() + f.Comment.Text()
	}
	words := strings.FieldsFunc(comments, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	var all []parameter
	for _, f := range st.Fields.List {
		if f.Tag == nil || len(f.Names) != 1 {
			continue
		}
		text, err := strconv.Unquote(f.Tag.Value)
		if err != nil {
			t.Fatal(err)
		}
		tag := reflect.StructTag(text)
		if tag.Get("param") == "" {
			continue
		}
		name := f.Names[0].Name
		all = append(all, parameter{in, name, tag, f.Comment != nil || slices.Contains(words, name)})
	}
	return all
}
