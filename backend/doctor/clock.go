package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// Clock compares this host's clock with another one. ask returns what that one
// shows, which may be old by up to precision. The rest is CompareClocks.
func Clock(ctx context.Context, e driver.Examination, whose string, precision time.Duration, ask func(context.Context) (time.Time, error)) {
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	before := time.Now()
	there, err := ask(ctx)
	if err != nil {
		e.Skip("clock", comparing(whose), err.Error(), "this is no fault: see that a time service, such as chrony, runs on all hosts; \"timedatectl\" shows it")
		return
	}
	CompareClocks(e, whose, before.Add(-precision), there, time.Now())
}

func comparing(whose string) string { return "compare with the clock of " + whose }

// CompareClocks reports whether another clock, which showed there at some time
// between before and after, agrees with this host's. Liveness compares no clocks, but what
// services share often does: of two notifications that a log has, the later one
// counts, and a silence ends at a time.
func CompareClocks(e driver.Examination, whose string, before, there, after time.Time) {
	const name = "clock"
	ahead := max(there.Sub(after), 0)
	if behind := before.Sub(there); behind > 0 {
		ahead = -behind
	}
	if ahead.Abs() > driver.ClocksApart {
		found, fix := driver.TellClock(ahead)
		e.Warn(name, comparing(whose), found, fix)
		return
	}
	e.OK(name, comparing(whose), fmt.Sprintf("they agree, as far as %v of asking can show", after.Sub(before).Round(10*time.Microsecond)))
}
