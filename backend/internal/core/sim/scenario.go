package sim

import (
	"bufio"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/internal/core"
)

// Scenario is what happens in a world. As text it is lines of words; what follows
// a # is a comment. Lines that begin with a word set up the world, lines that
// begin with a time are its steps:
//
//	seed 7
//	net bus unicast replay=50
//	timing sync=0 hold            # the zero sync is never
//	states s t
//	apart t                       # states of these keys can be taken apart
//	 0s start a b c
//	 2s for 5s cut a b | c        # over at 7s
//	 3s say a s 20 50ms           # 20 updates, 50ms apart
//	20s expect exchanges <= 12
type Scenario struct {
	Comment []string
	Seed    uint64
	Net     Net
	Timing  Timing
	Keys    []string // of the states that a node starts with
	Apart   []string // of those that can be taken apart
	Rest    bool     // hold the world to what is promised at rest
	Steps   []Step
}

// Net says what carries the frames.
type Net struct {
	Mesh                      bool
	Native, Unicast, Exchange bool
	Copies                    time.Duration
	Replay                    int // frames that a new subscriber gets again
	MaxFrame                  int // bytes, above which frames travel in pieces; 0: none
	Latency                   time.Duration
}

// Timing is that of all nodes.
type Timing struct {
	Heartbeat, Grace, Settle, Sync time.Duration // the zero Sync is never
	Hold                           bool
	Drift                          float64 // of the clocks, at most, as a part of one
}

// Step is something that happens.
type Step struct {
	At   time.Duration
	For  time.Duration // until it is over; 0: it has no end of its own
	Args []string      // the first is its name in steps
}

// String returns the line.
func (s Step) String() string {
	if s.For > 0 {
		return fmt.Sprintf("%v for %v %s", s.At, s.For, strings.Join(s.Args, " "))
	}
	return fmt.Sprintf("%v %s", s.At, strings.Join(s.Args, " "))
}

// defaults returns what a scenario that says nothing has.
func defaults() *Scenario {
	return &Scenario{
		Rest: true,
		Net:  Net{Latency: time.Millisecond},
		Timing: Timing{
			Heartbeat: 500 * time.Millisecond, Grace: 10 * time.Second, Settle: 10 * time.Second, Sync: 30 * time.Second,
		},
		Keys: []string{"s"},
	}
}

// Parse reads a scenario.
func Parse(text string) (*Scenario, error) {
	s := defaults()
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
			return nil, fmt.Errorf("line %d: %q: %w", n, line, err)
		}
	}
	return s, lines.Err()
}

func (s *Scenario) line(words []string) error {
	var err error
	switch words[0] {
	case "seed":
		s.Seed, err = strconv.ParseUint(words[1], 10, 64)
	case "net":
		err = s.Net.set(words[1:])
	case "timing":
		err = s.Timing.set(words[1:])
	case "states":
		s.Keys = words[1:]
	case "apart":
		s.Apart = words[1:]
	case "restless":
		s.Rest = false
	default:
		var step Step
		if step.At, err = time.ParseDuration(words[0]); err != nil {
			return err
		}
		words = words[1:]
		if len(words) > 2 && words[0] == "for" {
			if step.For, err = time.ParseDuration(words[1]); err != nil {
				return err
			}
			words = words[2:]
		}
		if len(words) == 0 || steps[words[0]] == nil {
			return fmt.Errorf("no such step")
		}
		step.Args = words
		s.Steps = append(s.Steps, step)
	}
	return err
}

func (n *Net) set(words []string) (err error) {
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "bus":
			n.Mesh = false
		case "mesh":
			n.Mesh, n.Native, n.Unicast = true, true, true
		case "native":
			n.Native = true
		case "unicast":
			n.Unicast = true
		case "exchange":
			n.Exchange = true
		case "copies":
			n.Copies, err = time.ParseDuration(value)
		case "latency":
			n.Latency, err = time.ParseDuration(value)
		case "replay":
			n.Replay, err = strconv.Atoi(value)
		case "maxframe":
			n.MaxFrame, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("no such property: %s", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// String returns the line.
func (n Net) String() string {
	words := []string{"net"}
	if n.Mesh {
		words = append(words, "mesh")
	} else {
		words = append(words, "bus")
		if n.Native {
			words = append(words, "native")
		}
		if n.Unicast {
			words = append(words, "unicast")
		}
	}
	if n.Exchange {
		words = append(words, "exchange")
	}
	if n.Copies > 0 {
		words = append(words, fmt.Sprintf("copies=%v", n.Copies))
	}
	if n.Replay > 0 {
		words = append(words, fmt.Sprintf("replay=%d", n.Replay))
	}
	if n.MaxFrame > 0 {
		words = append(words, fmt.Sprintf("maxframe=%d", n.MaxFrame))
	}
	return strings.Join(append(words, fmt.Sprintf("latency=%v", n.Latency)), " ")
}

func (t *Timing) set(words []string) (err error) {
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "heartbeat":
			t.Heartbeat, err = time.ParseDuration(value)
		case "grace":
			t.Grace, err = time.ParseDuration(value)
		case "settle":
			t.Settle, err = time.ParseDuration(value)
		case "sync":
			t.Sync, err = time.ParseDuration(value)
		case "hold":
			t.Hold = true
		case "drift":
			t.Drift, err = strconv.ParseFloat(value, 64)
		default:
			err = fmt.Errorf("no such timing: %s", name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// String returns the line.
func (t Timing) String() string {
	line := fmt.Sprintf("timing heartbeat=%v grace=%v settle=%v sync=%v", t.Heartbeat, t.Grace, t.Settle, t.Sync)
	if t.Hold {
		line += " hold"
	}
	if t.Drift > 0 {
		line += fmt.Sprintf(" drift=%g", t.Drift)
	}
	return line
}

// String returns the scenario as text.
func (s *Scenario) String() string {
	var b strings.Builder
	for _, c := range s.Comment {
		fmt.Fprintf(&b, "# %s\n", c)
	}
	fmt.Fprintf(&b, "seed %d\n%v\n%v\nstates %s\n", s.Seed, s.Net, s.Timing, strings.Join(s.Keys, " "))
	if len(s.Apart) > 0 {
		fmt.Fprintf(&b, "apart %s\n", strings.Join(s.Apart, " "))
	}
	if !s.Rest {
		b.WriteString("restless\n")
	}
	for _, step := range s.Steps {
		fmt.Fprintln(&b, step)
	}
	return b.String()
}

// End returns when the last step is over.
func (s *Scenario) End() time.Duration {
	var end time.Duration
	for _, step := range s.Steps {
		end = max(end, step.At+step.For, step.At+step.lasts())
	}
	return end
}

// lasts returns for how long a step does something again and again.
func (s Step) lasts() time.Duration {
	at := map[string]int{"say": 3, "relink": 2, "stranger": 4}[s.Args[0]]
	if s.Args[0] == "stranger" && s.Args[1] == "again" {
		return time.Duration(natural(s.Args, 3, 1)) * forgeEvery
	}
	if at == 0 || s.Args[0] == "stranger" || len(s.Args) <= at+1 {
		return 0
	}
	return time.Duration(natural(s.Args, at, 1)) * duration(s.Args[at+1])
}

// sort puts the steps into the order of time.
func (s *Scenario) sort() {
	slices.SortStableFunc(s.Steps, func(a, b Step) int { return cmp.Compare(a.At, b.At) })
}

// config returns that of the core of self.
func (s *Scenario) config(self core.Member, seed uint64) core.Config {
	sync := s.Timing.Sync
	if sync == 0 {
		sync = 100 * 365 * 24 * time.Hour
	}
	return core.Config{
		Self: self, Heartbeat: s.Timing.Heartbeat, Grace: s.Timing.Grace, Settle: s.Timing.Settle, Sync: sync, Hold: s.Timing.Hold, Seed: seed,
	}
}
