package grafana

import (
	"cmp"
	"time"
)

// Timing are the periods of the wire; the backend's GrafanaTiming describes each.
// Zero means the default.
type Timing struct{ Heartbeat, Expiry, TTL, FullState, Beat time.Duration }

func (t Timing) orDefaults() Timing {
	return Timing{
		Heartbeat: cmp.Or(t.Heartbeat, 5*time.Second),
		Expiry:    cmp.Or(t.Expiry, time.Minute),
		TTL:       cmp.Or(t.TTL, 5*time.Minute),
		FullState: cmp.Or(t.FullState, time.Minute),
		Beat:      cmp.Or(t.Beat, 500*time.Millisecond),
	}
}
