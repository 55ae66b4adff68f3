package main_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	p := run(t, "demo", "--json")
	if code := p.exitCode(t, 90*time.Second); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	var outcome struct {
		Backend string
		OK      bool
		Error   string
		Members []struct {
			Name     string
			Position int
		}
		Steps []struct {
			Expect, Got string
			OK          bool
		}
	}
	if err := json.Unmarshal([]byte(p.stdout.String()), &outcome); err != nil {
		t.Fatalf("stdout is not one JSON document: %v", err)
	}
	if !outcome.OK || outcome.Error != "" || outcome.Backend != "memberlist" || len(outcome.Members) != 3 || len(outcome.Steps) != 8 {
		t.Errorf("outcome is %+v, want ok, memberlist, 3 members, 8 steps", outcome)
	}
	for i, m := range outcome.Members {
		if m.Position != i {
			t.Errorf("member %s is at position %d, want %d", m.Name, m.Position, i)
		}
	}
	once := 0
	for _, s := range outcome.Steps {
		if !s.OK {
			t.Errorf("step is not ok: %+v", s)
		}
		if strings.Contains(s.Expect, "1 delivery each, from position 0") {
			once++
		}
	}
	if once != 2 {
		t.Errorf("%d steps are about one delivery, want one with all nodes and one without the first", once)
	}
	if left, err := os.ReadDir(p.cmd.Dir); err != nil || len(left) != 0 {
		t.Errorf("it left %v behind (%v)", left, err)
	}
}
