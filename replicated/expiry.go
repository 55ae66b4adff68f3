package replicated

import "time"

// longest is how long the timer runs at most: this node's clock may be set meanwhile.
const longest = time.Minute

// sweep does what is due. r.mu is held, here and below where nothing else is said.
func (r *replica) sweep() {
	if due := r.table.due(); due == 0 {
		return
	}
	for wall := r.clock.wall(); ; {
		key, ended, did := r.table.expire(wall)
		if !did {
			return
		}
		if ended {
			r.changed(key, false)
		}
	}
}

// arm has a timer call when something is due next, so that watchers see it and memory
// is freed though nobody asks.
func (r *replica) arm() {
	due := r.table.due()
	if r.closed || due == 0 || r.timer != nil && r.timerDue <= due {
		return
	}
	if r.timer != nil && r.timer.Stop() {
		r.sweeps.Done()
	}
	wait := longest
	if wall := r.clock.wall(); due < wall+uint64(longest.Milliseconds()) {
		wait = time.Duration(max(int64(due)-int64(wall), 0)) * time.Millisecond
	}
	r.sweeps.Add(1)
	r.timerDue = due
	var timer *time.Timer
	timer = time.AfterFunc(wait, func() {
		defer r.sweeps.Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.timer != timer || r.closed {
			return
		}
		r.timer = nil
		r.sweep()
		r.arm()
	})
	r.timer = timer
}
