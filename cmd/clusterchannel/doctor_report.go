package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend"
)

// finding is one thing that was tried.
type finding struct {
	Name   string `json:"name"`
	Status string `json:"status"` // one of the constants below
	Tried  string `json:"tried"`
	Got    string `json:"got"`
	Mend   string `json:"mend,omitempty"` // how to mend it, where there is something
}

const (
	stepOK   = "ok"
	stepWarn = "warn" // works, and may not for long or not under load
	stepFail = "fail"
	stepSkip = "skip" // could not be looked at
)

func (d *doctor) add(s finding) { d.steps = append(d.steps, s) }

func (d *doctor) ok(name, tried, got string) {
	d.add(finding{Name: name, Status: stepOK, Tried: tried, Got: got})
}

func (d *doctor) warn(name, tried, got, mend string) {
	d.add(finding{Name: name, Status: stepWarn, Tried: tried, Got: got, Mend: mend})
}

func (d *doctor) skip(name, tried, got, mend string) {
	d.add(finding{Name: name, Status: stepSkip, Tried: tried, Got: got, Mend: mend})
}

func (d *doctor) fail(name, tried string, err error, mend string) {
	d.add(finding{Name: name, Status: stepFail, Tried: tried, Got: err.Error(), Mend: mend})
}

// mend returns advice: bad configuration names its key, and else general is what
// is left to say.
func mend(err error, general string) string {
	if errors.Is(err, backend.ErrConfig) {
		return "correct the key that is named"
	}
	return general
}

// examination is the whole report. No field holds a secret.
type examination struct {
	Backend string    `json:"backend"`
	Cluster string    `json:"cluster"`
	Node    string    `json:"node"`
	Well    bool      `json:"well"`
	Steps   []finding `json:"steps"`
}

// report closes the examination: secrets that a server or a library repeated are
// taken out.
func (d *doctor) report(config backend.Config) examination {
	hide := secretsOf(config)
	r := examination{
		Backend: config.Backend, Cluster: config.Cluster, Node: config.Name,
		Steps: append([]finding{}, d.steps...),
	}
	for i := range r.Steps {
		s := &r.Steps[i]
		s.Tried, s.Got, s.Mend = hide(oneLine(s.Tried)), hide(oneLine(s.Got)), hide(oneLine(s.Mend))
	}
	r.Well = r.failed() == ""
	return r
}

// secretsOf returns what replaces the values of secret parameters in a text.
func secretsOf(config backend.Config) func(string) string {
	var secrets []string
	known := map[string]bool{}
	for _, k := range paramKeys(config.Backend) {
		known[k.Name], known[k.Alias] = !k.Secret, !k.Secret
	}
	for key, value := range config.Params {
		if !known[key] {
			secrets = append(secrets, append(strings.Split(value, ","), value)...)
		}
	}
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return func(text string) string {
		for _, s := range secrets {
			if s = strings.TrimSpace(s); len(s) > 2 {
				text = strings.ReplaceAll(text, s, secretText)
			}
		}
		return text
	}
}

// oneLine keeps a text of a server on its line.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.TrimSpace(text))
}

// failed returns the names of the steps that failed.
func (r examination) failed() string {
	names := map[string]bool{}
	for _, s := range r.Steps {
		if s.Status == stepFail {
			names[s.Name] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

// print shows the report to people.
func (r examination) print(w io.Writer) error {
	var b strings.Builder
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "%-4s  %s: %s\n      %s\n", s.Status, s.Name, s.Tried, s.Got)
		if s.Mend != "" {
			fmt.Fprintf(&b, "      mend: %s\n", s.Mend)
		}
	}
	verdict := "All is well."
	if !r.Well {
		verdict = "Something is wrong: " + r.failed() + "."
	}
	fmt.Fprintf(&b, "\n%s\n", verdict)
	_, err := io.WriteString(w, b.String())
	return err
}
