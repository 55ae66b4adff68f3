package driver

import (
	"fmt"
	"time"
)

// ClocksApart is how far the clocks of two hosts may differ before it is worth a
// word.
const ClocksApart = time.Second

// TellClock says of another clock that it is ahead of this host's, or behind it if
// ahead is negative, and what to do: in the same words wherever that is found.
func TellClock(ahead time.Duration) (found, fix string) {
	const step = 100 * time.Millisecond
	found = fmt.Sprintf("it is %v ahead of this host's", ahead.Round(step))
	if ahead < 0 {
		found = fmt.Sprintf("it is %v behind this host's", -ahead.Round(step))
	}
	return found, "of two notifications the later one counts, and silences end at a time: run a time service, such as chrony, on all hosts; \"timedatectl\" shows whether a host has one"
}
