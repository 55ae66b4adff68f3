package conformance

import (
	"fmt"
	"strings"
	"time"

	"github.com/clusterchannel/clusterchannel/internal/wire"
)

// sightings are what a wiretap has seen pass, for the text of a failure.
type sightings struct {
	self     string    // this node's instance
	out      time.Time // the last frame out
	own      flowOf    // frames in of this node
	others   flowOf    // frames in of others
	words    int       // of the driver about its link: calls of Link, and ends of Serve
	mute     int       // drivers that were ended from above and had said nothing but that they are attached
	link     error     // the last word; nil: it is attached
	linkAt   time.Time
	openErr  error // of the last Open that failed
	sendErr  error // of the last frame, if it was not
	rejected error // the last thing that the driver has rejected
}

// flowOf counts frames.
type flowOf struct {
	count int
	last  time.Time
}

func (f *flowOf) note() { f.count, f.last = f.count+1, time.Now() }

func (f flowOf) String() string {
	if f.count == 0 {
		return "none"
	}
	return fmt.Sprintf("%d, the last %v ago", f.count, ago(f.last))
}

func ago(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond) }

func (p *wiretap) notOpened(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.openErr = err
}

// sending notes how a send has ended.
func (p *wiretap) sending(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.sendErr = err
}

// told notes what the driver says of its link.
func (p *wiretap) told(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen.words++
	p.seen.link, p.seen.linkAt = err, time.Now()
}

// ended notes that a driver was ended from above.
func (p *wiretap) ended(mute bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if mute {
		p.seen.mute++
	}
}

// mute returns how many drivers were ended from above and had said nothing but that
// they are attached.
func (p *wiretap) mute() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.mute
}

// words returns how often the driver has said something of its link.
func (p *wiretap) words() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen.words
}

// arrived counts a frame in. It reports whether that is a mark, which the portable
// layer never sees.
func (p *wiretap) arrived(b []byte) (isMark bool) {
	var f wire.Frame
	if wire.Decode(b, &f) != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch origin := string(f.Origin); {
	case strings.HasPrefix(origin, markOrigin):
		p.marks = append(p.marks, string(b))
		return true
	case origin == p.seen.self:
		p.seen.own.note()
	default:
		p.seen.others.note()
	}
	return false
}

// account says what was seen of the driver, and below it what that looks like.
func (p *wiretap) account() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.seen
	var b strings.Builder
	fmt.Fprintf(&b, "its driver: opened %d times", p.opens)
	switch {
	case p.opens == 0 && s.openErr != nil:
		fmt.Fprintf(&b, ", never with success: %v", s.openErr)
	case s.words == 0:
		b.WriteString(", it never called Link")
	case s.link == nil:
		fmt.Fprintf(&b, ", attached since %v", ago(s.linkAt))
	default:
		fmt.Fprintf(&b, ", not attached since %v: %v", ago(s.linkAt), s.link)
	}
	if p.frames == 0 {
		b.WriteString("; frames sent: none")
	} else {
		fmt.Fprintf(&b, "; frames sent: %d, the last %v ago", p.frames, ago(s.out))
	}
	fmt.Fprintf(&b, "; heard of its own: %v; of others: %v", s.own, s.others)
	if p.refused > 0 {
		fmt.Fprintf(&b, "; rejected: %d, the last: %v", p.refused, s.rejected)
	}
	if s.sendErr != nil {
		fmt.Fprintf(&b, "; the last error of a send: %v", s.sendErr)
	}
	for _, cause := range p.causes() {
		b.WriteString("\n      look at: " + cause)
	}
	return b.String()
}

// causes are what an author is to look at. It is called with the lock held.
func (p *wiretap) causes() (causes []string) {
	s := &p.seen
	look := func(when bool, what string) {
		if when {
			causes = append(causes, what)
		}
	}
	const beats = 5 // frames after which something must have come back
	stale := func(f flowOf) bool { return f.count > 0 && s.out.Sub(f.last) > time.Second }
	native := p.caps.Membership
	attached := p.opens > 0 && s.link == nil
	look(p.opens == 0, "why Open fails: the address, the credentials, a name that the server refuses")
	look(p.opens > 0 && s.words == 0, "Serve: it begins with Handler.Link(nil) once the subscription stands, else the node stays detached")
	look(p.opens > 2, "why the driver was opened so often: Serve ends, or the node does not hear itself and asks for another driver; two clients of one identity may end each other's session")
	look(attached && !native && p.frames > beats && s.own.count == 0 && s.others.count == 0,
		"the subscription: it hears nothing at all. Does Open subscribe, and wait until the server has confirmed it? Is it the same subject, topic or channel as Broadcast publishes to, escaped in the same way?")
	look(attached && !native && p.frames > beats && s.own.count == 0 && s.others.count > 0,
		"own frames: it hears the others and not itself. A bus hands over the node's own frames too: turn off no-echo, noLocal or the like")
	look(attached && !native && s.own.count > beats && s.others.count == 0,
		"the others' frames: it hears itself alone. Does each node subscribe for itself, in no queue or consumer group, where each message goes to one of them? Do all name the cluster's subject, topic or channel alike?")
	look(attached && native && s.others.count == 0 && len(p.listed) > 1,
		"the others' frames: the transport lists members, and hands over none of their frames")
	look(attached && native && len(p.listed) == 0, "Handler.Members: it was called with no list, or never, though Caps.Membership is set")
	look(attached && !native && s.own.count > 0 && stale(s.own),
		"the subscription after a loss: frames came, and no more do, though more were sent. A client library that reconnects by itself must subscribe again, and Serve must say so by Link, or end")
	look(s.sendErr != nil && attached && s.own.count == 0, "the error of the send: a right to publish, or a size")
	look(p.refused > beats, "what Handler.Reject was given: another cluster's frames arrive here, or frames are altered on their way")
	return causes
}
