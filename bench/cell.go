package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The rows of a table.
const (
	rowP50       = "200 bytes reach all, p50"
	rowP99       = "200 bytes reach all, p99"
	rowBurst     = "burst of 20,000 reaches all"
	rowLarge     = "1 MiB reaches all, p50"
	rowBareP50   = "200 bytes, where nodes keep nothing"
	rowBareLarge = "1 MiB, where nodes keep nothing"
	rowJoin      = "joiner has 2 MB and is ready"
	rowLeave     = "a leave is seen by all"
	rowCrash     = "killed process is dropped by all"
	rowCPU       = "idle: CPU seconds a minute and node"
	rowBytes     = "idle: bytes a second and node"
	rowServer    = "idle: server, % of one core"
	rowIn        = "idle: messages a second to the server"
	rowOut       = "idle: messages a second from the server"
	rowTraffic   = "idle: bytes a second at the server"
)

// cell is one measured value: seconds, or what the row says.
type cell struct {
	Value   float64
	Text    string
	AtLeast bool // the value was not reached; it would be higher
}

// cells are measured values by row.
type cells map[string]cell

func took(d time.Duration) cell {
	round := time.Microsecond
	switch {
	case d > 100*time.Millisecond:
		round = time.Millisecond
	case d > time.Millisecond:
		round = 10 * time.Microsecond
	}
	return cell{Value: d.Seconds(), Text: d.Round(round).String()}
}

// never is a value that was not reached within d.
func never(d time.Duration, text string) cell {
	return cell{Value: d.Seconds(), Text: text, AtLeast: true}
}

func amount(v float64, format string) cell { return cell{Value: v, Text: fmt.Sprintf(format, v)} }

// middle is the median of several durations, with the extremes.
func middle(times []time.Duration) cell {
	slices.Sort(times)
	c := took(times[len(times)/2])
	if len(times) > 1 {
		c.Text += fmt.Sprintf(" (%v to %v)", times[0].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond))
	}
	return c
}

// median returns the median of several rounds for each row.
func median(rounds []cells) cells {
	result := cells{}
	for row := range rounds[0] {
		var all []cell
		for _, r := range rounds {
			if c, ok := r[row]; ok {
				all = append(all, c)
			}
		}
		slices.SortFunc(all, func(a, b cell) int { return cmp.Compare(a.Value, b.Value) })
		result[row] = all[len(all)/2]
	}
	return result
}
