package core

import "time"

// bucket is a budget of so much a second, which can be saved up to a burst. It
// may go into debt by one item, however large that is, and then waits.
type bucket struct {
	rate, burst float64
	level       float64
	at          time.Duration
}

func newBucket(rate, burst float64) bucket { return bucket{rate: rate, burst: burst, level: burst} }

func (b *bucket) fill(now time.Duration) {
	b.level = min(b.burst, b.level+b.rate*(now-b.at).Seconds())
	b.at = now
}

// take spends n if anything is left.
func (b *bucket) take(now time.Duration, n int) bool {
	b.fill(now)
	if b.level < 1 {
		return false
	}
	b.level -= float64(n)
	return true
}

// spare reports whether half of what can be saved up is left: for what can wait.
func (b *bucket) spare(now time.Duration) bool {
	b.fill(now)
	return b.level >= b.burst/2
}

// spend spends n, whatever is left: what was promised before is kept.
func (b *bucket) spend(now time.Duration, n int) {
	b.fill(now)
	b.level -= float64(n)
}

// next returns when take succeeds again.
func (b *bucket) next(now time.Duration) time.Duration {
	b.fill(now)
	if b.level >= 1 {
		return now
	}
	return now + time.Duration((1-b.level)/b.rate*float64(time.Second)) + 1
}
