package core

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// rows returns the first and second cell of each row of the table that follows
// the heading.
func rows(t *testing.T, heading string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	if !found {
		t.Fatalf("docs/protocol.md has no heading %q", heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	all := map[string]string{}
	for i, line := range slices.Collect(strings.SplitSeq(section, "\n")) {
		cells := strings.Split(line, " | ")
		if i > 0 && strings.HasPrefix(line, "| ") && len(cells) > 1 {
			all[strings.TrimPrefix(cells[0], "| ")] = strings.TrimSuffix(cells[1], " |")
		}
	}
	return all
}

// TestBudgetsOfTheDocument holds the table of docs/protocol.md to the constants.
func TestBudgetsOfTheDocument(t *testing.T) {
	const mib, kib = 1 << 20, 1 << 10
	want := map[string]string{
		"exchanges started":                      fmt.Sprintf("%d a second, %d at once", startsPerSecond, startsBurst),
		"exchanges under way":                    fmt.Sprint(maxPulls),
		"answers started":                        fmt.Sprintf("%d a second, %d at once", answersPerSecond, answersBurst),
		"answers under way":                      fmt.Sprint(maxAnswers),
		"askers that wait":                       fmt.Sprint(maxAskers),
		"pulls of who is no member yet":          fmt.Sprintf("%d, %v", maxEarly, answerPatience),
		"pieces without an answer":               fmt.Sprint(piecesFor),
		"bytes answered, pushed and sent again":  fmt.Sprintf("%d MiB a second, %d MiB at once", bytesPerSecond/mib, bytesBurst/mib),
		"pushes merged":                          fmt.Sprintf("%d a second, %d at once", answersPerSecond, answersBurst),
		"bytes of entries in a step":             fmt.Sprintf("%d KiB to %d MiB, %d MiB of all walks", roomLeast/kib, roomMost/mib, roomOfAll/mib),
		"steps of a walk":                        fmt.Sprintf("%d, and one for each %d KiB", maxSteps, roomLeast/kib),
		"refused entries in a walk":              fmt.Sprintf("%d MiB, and twice what is merged", spurnedMost/mib),
		"pause of what was refused":              fmt.Sprintf("%v at most", spurnedFor),
		"a step without an answer":               fmt.Sprintf("%v, %d times", stepPatience, stepTries),
		"walks of others":                        fmt.Sprintf("%d, %v", maxGuests, guestFor),
		"members asked in a round":               fmt.Sprint(maxAsked),
		"rounds of a search":                     fmt.Sprint(maxRounds),
		"length of a search":                     fmt.Sprint(maxSearch),
		"pause between rounds":                   fmt.Sprintf("%v to %v", firstPause, maxPause),
		"asks of an origin":                      fmt.Sprint(originAsks),
		"lists":                                  fmt.Sprintf("%d a second, %d at once", listsPerSecond, listsBurst),
		"voids":                                  fmt.Sprintf("%d a second, %d at once", voidsPerSecond, voidsBurst),
		"incarnations raised":                    fmt.Sprintf("1 in %v, %d at once", raiseEvery, raiseBurst),
		"members":                                fmt.Sprint(maxMembers),
		"departed":                               fmt.Sprintf("%d, %v", maxDeparted, departedFor),
		"strangers":                              fmt.Sprintf("%d, %v", maxStrangers, strangerFor),
		"keys of a stranger":                     fmt.Sprint(maxStrangerKeys),
		"streams":                                fmt.Sprint(maxStreams),
		"ranges of a set":                        fmt.Sprint(maxRanges),
		"updates kept":                           fmt.Sprintf("%d KiB and %d a key, %d MiB in all, %v", keptBytes/kib, keptItems, keptTotal/mib, keptFor),
		"keys in one request for updates":        fmt.Sprintf("%d, of %d ranges", maxWants, maxWantRanges),
		"missed updates of keys without a state": fmt.Sprintf("%d, %v", maxUnregistered, unregisteredFor),
		"catching up":                            fmt.Sprint(catchUpLimit),
	}
	got := rows(t, "Budgets")
	delete(got, "budget")
	if !maps.Equal(got, want) {
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: the document says %q, the code %q", k, got[k], v)
			}
		}
		for k := range got {
			if want[k] == "" {
				t.Errorf("%s: no constant is held to it", k)
			}
		}
	}
}

// TestMemoryOfTheDocument holds what the numbers of others cost to what the document says.
func TestMemoryOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	var aRange, aStream uintptr
	_, row, _ := strings.Cut(string(text), "| numbers kept by a node | | ")
	if _, err := fmt.Sscanf(row, "%d a range, %d a stream", &aRange, &aStream); err != nil {
		t.Fatal(err)
	}
	if n := unsafe.Sizeof(Range{}); n != aRange {
		t.Errorf("a range takes %d bytes, and the document says %d", n, aRange)
	}
	if n := unsafe.Sizeof(stream{}); n > aStream+aStream/5 || n < aStream-aStream/5 {
		t.Errorf("a stream takes %d bytes, and the document says %d", n, aStream)
	}
}

// TestReadyOfTheDocument wants each row of WaitReady's table to be a test.
func TestReadyOfTheDocument(t *testing.T) {
	got := rows(t, "Ready")
	delete(got, "case")
	if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(waitReady)); !slices.Equal(a, b) {
		t.Errorf("the document has %q, the test %q", a, b)
	}
}
