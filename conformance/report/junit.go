package report

import (
	"encoding/xml"
	"io"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance"
)

// The elements of JUnit's XML that CI systems read. A suite is one level of
// checks; a check that was waived, not run or not judged is skipped, with the reason.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     float64      `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name      string      `xml:"name,attr"`
		Tests     int         `xml:"tests,attr"`
		Failures  int         `xml:"failures,attr"`
		Skipped   int         `xml:"skipped,attr"`
		Time      float64     `xml:"time,attr"`
		Timestamp string      `xml:"timestamp,attr"`
		Cases     []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    float64       `xml:"time,attr"`
		Failure *junitMessage `xml:"failure"`
		Skipped *junitMessage `xml:"skipped"`
	}
	junitMessage struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func writeJUnit(w io.Writer, r conformance.Report) error {
	n := r.Count()
	all := junitSuites{
		Name: "conformance of " + title(r), Tests: len(r.Results), Failures: n[conformance.Failed],
		Skipped: n[conformance.Waived] + n[conformance.NotRun] + n[conformance.NotJudged], Time: seconds(r.Took),
	}
	for _, level := range []string{"basic", "fault"} {
		if s := levelSuite(r, level); s.Tests > 0 {
			all.Suites = append(all.Suites, s)
		}
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func levelSuite(r conformance.Report, level string) junitSuite {
	s := junitSuite{Name: level, Timestamp: r.Started.UTC().Format(time.RFC3339)}
	for _, c := range r.Results {
		if c.Level != level {
			continue
		}
		tc := junitCase{Name: c.Name, Class: "conformance." + r.Backend, Time: seconds(c.Took)}
		switch c.Outcome {
		case conformance.Failed:
			first, _, _ := strings.Cut(c.Output, "\n")
			tc.Failure = &junitMessage{Message: first, Text: c.Output}
			s.Failures++
		case conformance.Waived, conformance.NotRun, conformance.NotJudged:
			tc.Skipped = &junitMessage{Message: c.Outcome.String() + ": " + c.Reason}
			s.Skipped++
		}
		s.Tests++
		s.Time += tc.Time
		s.Cases = append(s.Cases, tc)
	}
	return s
}
