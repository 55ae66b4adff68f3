package heartbeat_test

import (
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/driver/heartbeat"
)

// A silent node ages only while this node hears itself.
func Example() {
	const interval = time.Second
	var self heartbeat.Pulse
	var other heartbeat.Member
	other.Beat(interval, interval)
	for second := time.Duration(1); second <= 6; second++ {
		now := second * time.Second
		count := self.Beat(now)
		if second == 3 {
			continue // the bus delivers nothing
		}
		_, _ = self.Echo(now, count)
		if other.Age(self.Ages(now, interval)) {
			fmt.Println("failed after", now)
		}
	}
	// Output: failed after 6s
}
