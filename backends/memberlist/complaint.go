package memberlist

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// complaint is one trouble that this node has with some members. Each change is told
// with all of them.
type complaint struct {
	what   string
	advice string

	mu      sync.Mutex
	members map[string]*member // by node name
}

// silence is that packets do not arrive, or their answers do not.
func silence(s settings) *complaint {
	if s.tls != nil {
		return newComplaint("packets over TLS get no answer", "small updates go by streams of their own")
	}
	return newComplaint("UDP is blocked", "small updates go by TCP, which costs more; let UDP through, both ways")
}

// refusal is that connections are refused by who answers otherwise.
func refusal() *complaint {
	return newComplaint("TCP is refused", "what does not fit a packet goes by other members, if at all; let TCP through")
}

// partition is that a member is reached by others alone.
func partition() *complaint {
	return newComplaint("members that others reach cannot be reached", "other members pass on what they have for each other; let UDP and TCP through, both ways")
}

func newComplaint(what, advice string) *complaint {
	return &complaint{what: what, advice: advice, members: map[string]*member{}}
}

// set adds or removes a member.
func (c *complaint) set(to *gate, p *member, there bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if (c.members[p.node.Name] != nil) == there {
		return
	}
	if c.members[p.node.Name] = p; !there {
		delete(c.members, p.node.Name)
	}
	c.tell(to)
}

// list returns the members.
func (c *complaint) list() []*member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.members))
}

// keep removes who is no member any more.
func (c *complaint) keep(to *gate, holds func(name string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := len(c.members)
	maps.DeleteFunc(c.members, func(name string, _ *member) bool { return !holds(name) })
	if len(c.members) != before {
		c.tell(to)
	}
}

// tell tells the Handler. c.mu is held.
func (c *complaint) tell(to *gate) {
	var err error
	if len(c.members) > 0 {
		var who []string
		for _, p := range c.members {
			who = append(who, p.Name+" at "+p.Addr)
		}
		slices.Sort(who)
		err = errors.New("to or from " + strings.Join(who, ", ") + ": " + c.advice)
	}
	to.do(func(h driver.Handler) { h.Trouble(c.what, err) })
}
