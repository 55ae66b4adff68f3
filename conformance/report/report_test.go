package report_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/report"
)

// sample is a run with every outcome, and text that each format must escape.
func sample() conformance.Report {
	info := map[string]conformance.CheckInfo{}
	for _, c := range conformance.Checks() {
		info[c.Name] = c
	}
	return conformance.Report{
		Backend: "nats", Server: "127.0.0.1:4222", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: 1234 * time.Millisecond, Scale: 1,
		Results: []conformance.Result{
			{CheckInfo: info["members/join"], Outcome: conformance.Passed, Took: 15 * time.Millisecond},
			{CheckInfo: info["sync/gap"], Outcome: conformance.Failed, Took: 2 * time.Second, Output: "not <within> 1s: \"a|b\" & \x00\nsecond line\n"},
			{CheckInfo: info["fault/server-restart"], Outcome: conformance.NotRun, Reason: "needs a server it may stop"},
			{CheckInfo: info["members/no-flap"], Outcome: conformance.Waived, Reason: "never | quiet"},
			{CheckInfo: info["sync/large"], Outcome: conformance.NotJudged, Reason: "the machine kept it", Output: "what it saw\n"},
		},
		Budgets: []conformance.Budget{{Name: "converge", Limit: 2 * time.Second, Worst: 15 * time.Millisecond, Stretched: 30 * time.Millisecond, Times: 3}, {Name: "leave", Limit: time.Second}},
	}
}

func write(t *testing.T, format string) string {
	t.Helper()
	var b strings.Builder
	if err := report.Write(&b, format, sample()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func contains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("lacks %q:\n%s", w, text)
		}
	}
}

func TestTable(t *testing.T) {
	contains(t, write(t, "table"),
		"nats at 127.0.0.1:4222\n",
		"members/join          basic  passed      20ms  C9\n",
		"sync/gap              fault  FAILED      2s    C2\n",
		"fault/server-restart  fault  not run           C12 C2   needs a server it may stop\n",
		"members/no-flap       basic  waived            C11      never | quiet\n",
		"sync/large            basic  not judged        C2 C11   the machine kept it\n",
		"converge  2s     30ms       15ms   3\n",
		"\nsync/large was not judged\n    what it saw\n",
		"\nsync/gap FAILED\n    not <within> 1s",
		"\n5 checks: 1 passed, 1 waived, 1 FAILED, 1 not judged, 1 not run in 1.2s\nnot judged: sync/large. The machine kept")
}

func TestJSON(t *testing.T) {
	var d struct {
		Backend, Server string
		Started         time.Time
		Took, Scale     float64
		Summary         struct {
			Checks, Passed, Waived, Failed int
			NotRun                         int `json:"not_run"`
			NotJudged                      int `json:"not_judged"`
		}
		Checks []struct {
			Name, Level, Outcome, Reason, Output string
			Guarantees                           []string
			Took                                 float64
		}
		Budgets []struct {
			Name         string
			Limit, Worst float64
			Stretched    float64
			Times        int
		}
	}
	decoder := json.NewDecoder(strings.NewReader(write(t, "json")))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		t.Fatal(err)
	}
	if d.Backend != "nats" || d.Server != "127.0.0.1:4222" || !d.Started.Equal(sample().Started) || d.Took != 1.234 || d.Scale != 1 {
		t.Errorf("head %+v", d)
	}
	if s := d.Summary; s.Checks != 5 || s.NotJudged != 1 || s.Passed != 1 || s.Waived != 1 || s.Failed != 1 || s.NotRun != 1 {
		t.Errorf("summary %+v", s)
	}
	if len(d.Checks) != 5 || len(d.Budgets) != 2 {
		t.Fatalf("%d checks, %d budgets", len(d.Checks), len(d.Budgets))
	}
	if c := d.Checks[1]; c.Name != "sync/gap" || c.Level != "fault" || c.Outcome != "failed" || c.Output != sample().Results[1].Output || c.Took != 2 {
		t.Errorf("check %+v", c)
	}
	if c := d.Checks[2]; c.Outcome != "not run" || c.Reason != "needs a server it may stop" || strings.Join(c.Guarantees, " ") != "C12 C2" {
		t.Errorf("check %+v", c)
	}
	if b := d.Budgets[0]; b.Name != "converge" || b.Limit != 2 || b.Worst != 0.015 || b.Stretched != 0.03 || b.Times != 3 {
		t.Errorf("budget %+v", b)
	}
}

func TestJUnit(t *testing.T) {
	type message struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type suite struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Cases    []struct {
			Name    string   `xml:"name,attr"`
			Class   string   `xml:"classname,attr"`
			Time    float64  `xml:"time,attr"`
			Failure *message `xml:"failure"`
			Skipped *message `xml:"skipped"`
		} `xml:"testcase"`
	}
	var all struct {
		XMLName  xml.Name `xml:"testsuites"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Skipped  int      `xml:"skipped,attr"`
		Suites   []suite  `xml:"testsuite"`
	}
	text := write(t, "junit")
	if err := xml.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	if all.Tests != 5 || all.Failures != 1 || all.Skipped != 3 || len(all.Suites) != 2 {
		t.Fatalf("%+v", all)
	}
	if s := all.Suites[0]; s.Name != "basic" || s.Tests != 3 || s.Failures != 0 || s.Skipped != 2 || len(s.Cases) != 3 {
		t.Errorf("suite %+v", s)
	}
	for _, c := range all.Suites[1].Cases {
		switch c.Name {
		case "sync/gap":
			if c.Class != "conformance.nats" || c.Time != 2 || c.Failure == nil || !strings.Contains(c.Failure.Text, "second line") || strings.Contains(c.Failure.Message, "second") {
				t.Errorf("case %+v, failure %+v", c, c.Failure)
			}
		case "fault/server-restart":
			if c.Failure != nil || c.Skipped == nil || c.Skipped.Message != "not run: needs a server it may stop" {
				t.Errorf("case %+v, skipped %+v", c, c.Skipped)
			}
		default:
			t.Errorf("case %s", c.Name)
		}
	}
}

func TestMarkdown(t *testing.T) {
	text := write(t, "markdown")
	contains(t, text,
		"### Conformance of `nats`\n\n5 checks: 1 passed, 1 waived, 1 FAILED, 1 not judged, 1 not run, on 2026-01-02.\n",
		"| C2 | repair | **no** | 1 failed, 1 not judged, 1 not run |\n| C9 | one view | yes | 1 passed |\n| C11 | steady | not shown | 1 not judged, 1 waived |\n| C12 | heals for ever | not shown | 1 not run |\n",
		"| converge | 2s | 15ms |\n| leave | 1s | not measured |\n",
		"| `sync/gap` | failed | not <within> 1s: \"a\\|b\" & \x00 |\n",
		"| `members/no-flap` | waived | never \\| quiet |\n")
	if strings.Contains(text, "members/join") {
		t.Error("what passed is listed among the exceptions")
	}
}

func TestMarkdownNamesEveryGuarantee(t *testing.T) {
	r := conformance.Report{Backend: "x"}
	for _, c := range conformance.Checks() {
		r.Results = append(r.Results, conformance.Result{CheckInfo: c, Outcome: conformance.Passed})
	}
	var b strings.Builder
	if err := report.Write(&b, "markdown", r); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= 22; n++ {
		if !strings.Contains(b.String(), fmt.Sprintf("\n| C%d | ", n)) {
			t.Errorf("lacks C%d:\n%s", n, b.String())
		}
	}
	if strings.Contains(b.String(), "| check |") {
		t.Error("a table of exceptions without one")
	}
}

func TestUnknownFormatAndBrokenPipe(t *testing.T) {
	if err := report.Write(&strings.Builder{}, "yaml", sample()); err == nil || !strings.Contains(err.Error(), "markdown") {
		t.Errorf("format yaml: %v", err)
	}
	for _, format := range report.Formats {
		if err := report.Write(brokenPipe{}, format, sample()); !errors.Is(err, errPipe) {
			t.Errorf("%s to a broken pipe: %v", format, err)
		}
	}
}

var errPipe = errors.New("broken pipe")

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errPipe }
