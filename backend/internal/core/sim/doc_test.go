package sim

import (
	"os"
	"strings"
	"testing"
)

// shownBy is which scenario of testdata holds a row of the table of strangers to what it
// says.
var shownBy = map[string]string{
	"heartbeat of an invented name": "stranger-names", "heartbeat in a member's name": "stranger-count", "a number far above": "stranger-jump",
	"a number above 2^62": "stranger-last-numbers", "another name for a member": "stranger-rename", "goodbye in a member's name": "stranger-goodbye-unheard",
	"goodbye, updates of strangers": "stranger-nonsense", "update in a member's name": "stranger-update",
	"pull without a receiver, or of a stranger": "stranger-pulls-bus", "pull of a member": "stranger-pulls", "answer that was not asked for": "stranger-answers",
	"push": "stranger-nonsense", "step of a walk, of a member": "stranger-walks", "missing": "stranger-missing", "kept in a member's name": "stranger-kept",
	"numbers of the departed, in a member's heartbeat": "stranger-departed", "list request": "stranger-nonsense", "list": "stranger-list", "void": "stranger-void",
	"answer with false numbers (of a member)": "stranger-answers",
	"piece of a frame":                        "", // it is put together before the core hears of it: TestUnfinishedFrames of the package backend
}

// TestStrangersOfTheDocument wants each row of the table to be shown by a scenario.
func TestStrangersOfTheDocument(t *testing.T) {
	rows := strangersOfTheDocument(t)
	for _, cells := range rows {
		by, ok := shownBy[cells[0]]
		if !ok {
			t.Errorf("no scenario shows %q", cells[0])
		} else if by != "" {
			read(t, "testdata/"+by+".txt")
		}
	}
	if len(rows) != len(shownBy) {
		t.Errorf("the document has %d rows, %d are shown", len(rows), len(shownBy))
	}
}

// strangersOfTheDocument returns the cells of each row of the table.
func strangersOfTheDocument(t *testing.T) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile("../../../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Strangers\n")
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| frame ") {
			rows = append(rows, strings.Split(strings.TrimPrefix(line, "| "), " | "))
		}
	}
	return rows
}
