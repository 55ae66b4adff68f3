package loglimit_test

import (
	"fmt"

	"github.com/clusterchannel/clusterchannel/backend/driver/loglimit"
)

// Of a line that repeats, one a minute is logged.
func ExampleLimiter() {
	var l loglimit.Limiter
	for range 3 {
		if suppressed, ok := l.Allow("a frame was refused"); ok {
			fmt.Println("a frame was refused", suppressed)
		}
	}
	// Output: a frame was refused 0
}
