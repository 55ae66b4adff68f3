package nemesis

import (
	"bufio"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schedule is what happens to a cluster, and when. As text it is lines of words;
// what follows a # is a comment. A line that begins with a time is a step:
//
//	seed 7
//	isolation hold
//	sync never
//	  0s start a b c
//	1.5s for 3s cut a        # over at 4.5s
//	  2s kill b
//	  4s start b
//
// docs/robustness.md lists the steps.
type Schedule struct {
	Comment []string
	Seed    uint64 // that it was made from; it also seeds what the nodes write
	Hold    bool   // nodes that are isolated hold their view
	NoSync  bool   // nodes never compare their states periodically
	Steps   []Step // in the order of time
}

// Step is one thing that happens.
type Step struct {
	At   time.Duration // since the cluster began
	For  time.Duration // until it is over; 0 for what has no end
	Args []string      // the first names what is done
}

// String returns the line.
func (s Step) String() string {
	if s.For > 0 {
		return fmt.Sprintf("%6v for %v %s", s.At, s.For, strings.Join(s.Args, " "))
	}
	return fmt.Sprintf("%6v %s", s.At, strings.Join(s.Args, " "))
}

// String returns the schedule as [Parse] reads it.
func (s *Schedule) String() string {
	var b strings.Builder
	for _, c := range s.Comment {
		fmt.Fprintf(&b, "# %s\n", c)
	}
	fmt.Fprintf(&b, "seed %d\n", s.Seed)
	if s.Hold {
		b.WriteString("isolation hold\n")
	}
	if s.NoSync {
		b.WriteString("sync never\n")
	}
	for _, step := range s.Steps {
		fmt.Fprintln(&b, step)
	}
	return b.String()
}

// Parse reads a schedule.
func Parse(text string) (*Schedule, error) {
	s := &Schedule{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line, comment, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			if comment != "" && len(s.Steps) == 0 {
				s.Comment = append(s.Comment, strings.TrimSpace(comment))
			}
			continue
		}
		if err := s.line(words); err != nil {
			return nil, fmt.Errorf("nemesis: line %d: %q: %w", n, strings.TrimSpace(line), err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("nemesis: %w", err)
	}
	if len(s.Steps) == 0 {
		return nil, fmt.Errorf("nemesis: the schedule has no steps")
	}
	s.sort()
	return s, nil
}

func (s *Schedule) line(words []string) (err error) {
	switch {
	case words[0] == "seed" && len(words) == 2:
		s.Seed, err = strconv.ParseUint(words[1], 10, 64)
		return err
	case words[0] == "isolation" && len(words) == 2 && (words[1] == "hold" || words[1] == "alone"):
		s.Hold = words[1] == "hold"
		return nil
	case slices.Equal(words, []string{"sync", "never"}):
		s.NoSync = true
		return nil
	}
	var step Step
	if step.At, err = time.ParseDuration(words[0]); err != nil {
		return fmt.Errorf("neither a time nor one of seed, isolation, sync")
	}
	words = words[1:]
	if len(words) > 2 && words[0] == "for" {
		if step.For, err = time.ParseDuration(words[1]); err != nil {
			return err
		}
		words = words[2:]
	}
	step.Args = words
	if err := step.check(); err != nil {
		return err
	}
	s.Steps = append(s.Steps, step)
	return nil
}

// check holds the words to the usage of their step.
func (s Step) check() error {
	if s.At < 0 || s.For < 0 {
		return fmt.Errorf("a time is negative")
	}
	if len(s.Args) == 0 {
		return fmt.Errorf("nothing is to be done")
	}
	a, known := actions[s.Args[0]]
	if !known {
		return fmt.Errorf("no such step: %s", s.Args[0])
	}
	if a.lasts != (s.For > 0) {
		if a.lasts {
			return fmt.Errorf("%s needs an end: for DURATION", s.Args[0])
		}
		return fmt.Errorf("%s has no end", s.Args[0])
	}
	words, kinds := s.Args[1:], strings.Fields(a.usage)
	for i, word := range words {
		kind := "nothing"
		if i < len(kinds) {
			kind = kinds[i]
		} else if len(kinds) > 0 && strings.HasSuffix(kinds[len(kinds)-1], "...") {
			kind = kinds[len(kinds)-1]
		}
		if !argument(kind, word) {
			return fmt.Errorf("%s: %q is no %s (usage: %s %s)", s.Args[0], word, strings.Trim(kind, "[.]"), s.Args[0], a.usage)
		}
	}
	if len(words) < len(kinds) && !strings.HasPrefix(kinds[len(words)], "[") {
		return fmt.Errorf("%s: more words are needed (usage: %s %s)", s.Args[0], s.Args[0], a.usage)
	}
	return nil
}

var nodeName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// argument reports whether word is of a kind, as usages name them.
func argument(kind, word string) bool {
	var err error
	switch strings.Trim(kind, "[.]") {
	case "NODE":
		return nodeName.MatchString(word)
	case "STATE":
		return slices.Contains(keys, word)
	case "HOW":
		return slices.Contains(outages, word)
	case "PART":
		var part float64
		part, err = strconv.ParseFloat(word, 64)
		return err == nil && part > 0 && part <= 1
	case "DURATION":
		var d time.Duration
		d, err = time.ParseDuration(word)
		return err == nil && d > 0
	case "NUMBER":
		var n int
		n, err = strconv.Atoi(word)
		return err == nil && n > 0
	}
	return false
}

// sort puts the steps into the order of time.
func (s *Schedule) sort() {
	slices.SortStableFunc(s.Steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
}

// names returns the nodes that the schedule starts.
func (s *Schedule) names() []string {
	var all []string
	for _, step := range s.Steps {
		if step.Args[0] == "start" {
			all = append(all, step.Args[1:]...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (s *Schedule) copy() *Schedule {
	c := *s
	c.Steps = slices.Clone(s.Steps)
	return &c
}

// The values of arguments that were checked.
func count(word string) int              { n, _ := strconv.Atoi(word); return n }
func part(word string) float64           { p, _ := strconv.ParseFloat(word, 64); return p }
func duration(word string) time.Duration { d, _ := time.ParseDuration(word); return d }
