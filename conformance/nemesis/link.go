package nemesis

import (
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/netfault"
)

// link is the way between the node of one name and the rest. It stays when the
// node goes and comes back.
type link struct {
	proxy *netfault.Proxy // nil where there is no TCP server

	mu     sync.Mutex
	active map[*condition]struct{}
	sum    condition
	seat   seat // of the node that lives; nil for none
}

// condition is what befalls a link.
type condition struct {
	Cut         bool // connections are refused
	Mute, Deaf  bool // what the node sends, or should hear, is lost
	Stall       bool // bytes wait
	Delay       time.Duration
	Rate        int     // bytes a second; 0: no bound
	Loss, Twice float64 // parts of the frames
}

// ofFrames is what of it befalls frames, since no proxy does it.
func (c condition) ofFrames(proxied bool) condition {
	if proxied {
		return condition{Loss: c.Loss, Twice: c.Twice}
	}
	return c
}

func newLink(p *netfault.Proxy) *link {
	return &link{proxy: p, active: map[*condition]struct{}{}}
}

// add lets c befall the link until end is called.
func (l *link) add(c condition) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active[&c] = struct{}{}
	l.apply()
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.active, &c)
		l.apply()
	})
}

// apply adds up what befalls the link. The caller holds mu.
func (l *link) apply() {
	var s condition
	for c := range l.active {
		s.Cut = s.Cut || c.Cut
		s.Mute = s.Mute || c.Mute
		s.Deaf = s.Deaf || c.Deaf
		s.Stall = s.Stall || c.Stall
		s.Delay = max(s.Delay, c.Delay)
		s.Loss, s.Twice = max(s.Loss, c.Loss), max(s.Twice, c.Twice)
		if c.Rate > 0 && (s.Rate == 0 || c.Rate < s.Rate) {
			s.Rate = c.Rate
		}
	}
	old := l.sum
	l.sum = s
	if l.seat != nil && old.ofFrames(l.proxy != nil) != s.ofFrames(l.proxy != nil) {
		l.seat.befall(s.ofFrames(l.proxy != nil))
	}
	if l.proxy == nil {
		return
	}
	l.proxy.Delay(s.Delay)
	l.proxy.Rate(s.Rate)
	if was, is := old.modes(), s.modes(); was != is {
		l.proxy.Set(is[netfault.ToServer], netfault.ToServer)
		l.proxy.Set(is[netfault.ToClient], netfault.ToClient)
	}
}

// modes returns those of a proxy.
func (c condition) modes() (modes [2]netfault.Mode) {
	for way, swallows := range map[netfault.Way]bool{netfault.ToServer: c.Mute, netfault.ToClient: c.Deaf} {
		switch {
		case c.Cut:
			modes[way] = netfault.Refuse
		case swallows:
			modes[way] = netfault.Swallow
		case c.Stall:
			modes[way] = netfault.Stall
		}
	}
	return modes
}

// take lets what befalls the link befall s, whose node has just been opened, or
// nobody.
func (l *link) take(s seat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seat = s
	if s != nil {
		s.befall(l.sum.ofFrames(l.proxy != nil))
	}
}
