package replicated

import "time"

// longest is how long the timer runs at most: this node's clock may be set meanwhile.
const longest = time.Minute

// settle does what is due, some at a time, so that nobody waits for long.
func (r *replica) settle() {
	for more := true; more; {
		r.mu.Lock()
		more = r.sweep()
		r.mu.Unlock()
	}
}

// sweep does some of what is due, and reports whether there may be more. r.mu is held.
func (r *replica) sweep() (more bool) {
	if r.table.due() == 0 {
		return false
	}
	wall := r.clock.wall()
	for range stride {
		key, ended, did := r.table.expire(wall)
		if !did {
			return false
		}
		if ended {
			r.changed(key, false)
		}
	}
	return true
}

// arm has a timer call when something is due next, so that watchers see it and memory
// is freed though nobody asks. r.mu is held.
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
		r.settle()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.timer == timer {
			r.timer = nil
			r.arm()
		}
	})
	r.timer = timer
}
