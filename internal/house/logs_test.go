package house

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// TestLogLinesAreStable wants the text of a log line to be constant, so that it
// can be searched for: what differs is in the fields.
func TestLogLinesAreStable(t *testing.T) {
	lines := 0
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			text, ok := logged(n)
			if !ok {
				return true
			}
			lines++
			switch text := text.(type) {
			case *ast.Ident, *ast.SelectorExpr: // a constant, or what a library has said
			case *ast.BasicLit:
				if text.Kind == token.STRING && strings.Contains(text.Value, "%") {
					t.Errorf("%s:%d: a verb in the text of a log line: put what differs into a field", s.path, s.line(text))
				}
			default:
				t.Errorf("%s:%d: the text of a log line is put together: make it constant, and put what differs into a field", s.path, s.line(text))
			}
			return true
		})
	}
	if lines < 50 {
		t.Errorf("only %d log lines were found", lines)
	}
}

// logged returns the text of the line that a call of a slog.Logger logs.
func logged(n ast.Node) (text ast.Expr, ok bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return nil, false
	}
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, method.Sel.Name) {
		return nil, false
	}
	var logger string
	switch x := method.X.(type) {
	case *ast.Ident:
		logger = x.Name
	case *ast.SelectorExpr:
		logger = x.Sel.Name
	}
	return call.Args[0], slices.Contains([]string{"log", "logger", "slog", "Logger"}, logger)
}
