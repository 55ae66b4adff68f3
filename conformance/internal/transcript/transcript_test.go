package transcript

import (
	"strings"
	"testing"
)

func TestIsATestingTB(t *testing.T) {
	var order []string
	r := New(t.Context(), "a test")
	dir := ""
	r.Run(func(t testing.TB) {
		dir = t.TempDir()
		t.Cleanup(func() { order = append(order, "first") })
		t.Cleanup(func() { order = append(order, "second"); panic("in a clean-up") })
		if t.Name() != "a test" || t.Context().Err() != nil {
			t.Error("name or context")
		}
		t.Skip("no reason")
		order = append(order, "went on")
	})
	if got := strings.Join(order, " "); got != "second first" {
		t.Errorf("ran %q", got)
	}
	for _, want := range []string{"skipped: no reason", "panic: in a clean-up"} {
		if !strings.Contains(r.Text(), want) {
			t.Errorf("output %q lacks %q", r.Text(), want)
		}
	}
	if !r.Failed() || dir == "" || r.ctx.Err() == nil {
		t.Errorf("failed %v, directory %q, context %v", r.Failed(), dir, r.ctx.Err())
	}
	for name, f := range map[string]func(testing.TB){
		"setenv": func(t testing.TB) { t.Setenv("A", "b") },
		"chdir":  func(t testing.TB) { t.Chdir("/") },
	} {
		r := New(t.Context(), name)
		r.Run(f)
		if !r.Failed() {
			t.Errorf("%s is allowed", name)
		}
	}
}
