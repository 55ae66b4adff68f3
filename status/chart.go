package status

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Latency is how long updates took from one node's Broadcast to the end of Merge
// here, by the two nodes' clocks.
type Latency struct {
	Count   uint64    `json:"count"`   // updates so far
	Mean    float64   `json:"mean"`    // seconds, of all
	Samples []float64 `json:"samples"` // seconds, the mean of each interval that had updates, the newest last
}

const (
	looksPerSample = 5
	maxSamples     = 60
)

// series keeps the means of the latest intervals.
type series struct {
	every time.Duration

	mu      sync.Mutex
	last    histogram
	at      time.Time
	started bool
	means   []float64
	total   histogram
}

func newSeries(every time.Duration) *series { return &series{every: every} }

// add adds the histogram's current values. Intervals begin with the first
// update, so that a single one shows at once.
func (s *series) add(h histogram, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total = h
	n := h.count - s.last.count
	switch {
	case h.count < s.last.count: // another channel of the same name
		s.last, s.at, s.means, s.started = h, now, nil, false
	case n == 0:
	case s.started && now.Sub(s.at) < s.every:
	default:
		if len(s.means) == maxSamples {
			s.means = slices.Delete(s.means, 0, 1)
		}
		s.means = append(s.means, (h.sum-s.last.sum)/float64(n))
		s.last, s.at, s.started = h, now, true
	}
}

func (s *series) latency() Latency {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := Latency{Count: s.total.count, Samples: append([]float64{}, s.means...)}
	if l.Count > 0 {
		l.Mean = s.total.sum / float64(l.Count)
	}
	return l
}

// The size of the chart, in its own units.
const (
	chartWidth  = 300
	chartHeight = 60
)

// Max returns the highest sample.
func (l Latency) Max() float64 {
	if len(l.Samples) == 0 {
		return 0
	}
	return slices.Max(l.Samples)
}

// Latest returns the newest sample.
func (l Latency) Latest() float64 {
	if len(l.Samples) == 0 {
		return 0
	}
	return l.Samples[len(l.Samples)-1]
}

// Points returns the line of the chart, as the points of an SVG polyline.
func (l Latency) Points() string {
	top := l.Max()
	if top <= 0 {
		top = 1
	}
	points := make([]string, 0, len(l.Samples)+1)
	for i, v := range l.Samples {
		x := chartWidth - float64(len(l.Samples)-1-i)*chartWidth/(maxSamples-1)
		points = append(points, fmt.Sprintf("%.1f,%.1f", x, chartHeight-2-v/top*(chartHeight-4)))
	}
	if len(points) == 1 { // a line of one point is not drawn
		points = append([]string{fmt.Sprintf("%.1f,%s", float64(chartWidth-4), strings.SplitN(points[0], ",", 2)[1])}, points...)
	}
	return strings.Join(points, " ")
}
