package sim

import (
	"regexp"
	"slices"
	"strings"
	"time"
)

// Shrink returns a smaller scenario than s that fails in the same way, having
// played at most tries of them.
func Shrink(s *Scenario, failure *Failure, tries int) *Scenario {
	fails := func(c *Scenario) bool {
		if tries <= 0 {
			return false
		}
		tries--
		f := Run(c, Look{}).Failure
		return f != nil && f.kind() == failure.kind()
	}
	for size := max(len(s.Steps)/2, 1); ; {
		smaller := false
		for from := 0; from < len(s.Steps); {
			c := s.copy()
			c.Steps = slices.Delete(c.Steps, from, min(from+size, len(c.Steps)))
			if fails(c) {
				s, smaller = c, true
			} else {
				from += size
			}
		}
		if size > 1 {
			size /= 2
		} else if !smaller || tries <= 0 {
			break
		}
	}
	for i := range s.Steps {
		for _, change := range []func(*Step){
			func(p *Step) { p.For /= 2 },
			func(p *Step) { p.At, p.For = p.At.Round(time.Second), p.For.Round(time.Second) },
			func(p *Step) {
				if p.Args[0] == "say" && len(p.Args) > 3 {
					p.Args = append(slices.Clone(p.Args[:3]), "1")
				}
			},
		} {
			c := s.copy()
			change(&c.Steps[i])
			if c.String() != s.String() && (c.Steps[i].For > 0) == (s.Steps[i].For > 0) && fails(c) {
				s = c
			}
		}
	}
	return s
}

func (s *Scenario) copy() *Scenario {
	c := *s
	c.Steps = slices.Clone(s.Steps)
	return &c
}

var particulars = regexp.MustCompile(`[^ ]*[0-9][^ ]*|"[^"]*"|\[[^]]*\]`)

// kind is what failures have in common that differ in names and numbers.
func (f *Failure) kind() string {
	first, _, _ := strings.Cut(f.Text, "\n")
	return particulars.ReplaceAllString(first, "")
}
