package status

import (
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
)

const (
	looksPerSample = 10
	maxSamples     = 60
)

// Chart is how something went in the last ten minutes, or since the page was made.
type Chart struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	Unit  string `json:"unit"` // seconds, or what a number counts
	Lines []Line `json:"lines"`
}

// Line is one of a chart's.
type Line struct {
	Name   string     `json:"name"`
	Values []*float64 `json:"values"` // one for each interval, the newest last; null where there was nothing to measure
}

// history keeps what the charts show: one sample of each line in an interval.
type history struct {
	every time.Duration

	mu   sync.Mutex
	at   time.Time // of last
	last moments
	kept [numLines][]*float64
}

const (
	updatesLine = iota
	p50Line
	p99Line
	exchangesLine
	numLines
)

// moments are the counters that a sample is made of.
type moments struct {
	updates, exchanges float64
	propagation        buckets
}

func newHistory(every time.Duration) *history { return &history{every: every} }

// add takes a sample where the last one is old enough.
func (h *history) add(f figures, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := moments{
		updates:     f.by("alertmanager_cluster_messages_sent_total", "msg_type", "update") + f.by("alertmanager_cluster_messages_received_total", "msg_type", "update"),
		exchanges:   f.sum("clusterchannel_resyncs_total"),
		propagation: f.propagation,
	}
	took := now.Sub(h.at)
	if !h.at.IsZero() && took < h.every {
		return
	}
	if !h.at.IsZero() && m.updates >= h.last.updates && m.exchanges >= h.last.exchanges { // else another channel has its place
		since := m.propagation.since(h.last.propagation)
		h.keep(updatesLine, (m.updates-h.last.updates)/took.Seconds(), true)
		h.keep(exchangesLine, (m.exchanges-h.last.exchanges)/took.Minutes(), true)
		p50, some := since.quantile(0.5)
		p99, _ := since.quantile(0.99)
		h.keep(p50Line, p50, some)
		h.keep(p99Line, p99, some)
	}
	h.at, h.last = now, m
}

func (h *history) keep(line int, value float64, measured bool) {
	var v *float64
	if measured {
		v = &value
	}
	if len(h.kept[line]) == maxSamples {
		h.kept[line] = slices.Delete(h.kept[line], 0, 1)
	}
	h.kept[line] = append(h.kept[line], v)
}

func (h *history) charts() []Chart {
	h.mu.Lock()
	defer h.mu.Unlock()
	line := func(name string, l int) Line { return Line{name, append([]*float64{}, h.kept[l]...)} }
	return []Chart{
		{"updates", "Updates a second, sent and received", "a second", []Line{line("updates", updatesLine)}},
		{"propagation", "From a broadcast elsewhere to its merge here", "seconds", []Line{line("half of them within", p50Line), line("99 of 100 within", p99Line)}},
		{"exchanges", "State exchanges a minute, asked by this node", "a minute", []Line{line("exchanges", exchangesLine)}},
	}
}

// buckets are those of a histogram: bounds, and how many values are not above each.
type buckets struct {
	bounds []float64
	counts []uint64
	count  uint64
}

func bucketsOf(h *dto.Histogram) buckets {
	b := buckets{count: h.GetSampleCount()}
	for _, x := range h.GetBucket() {
		b.bounds, b.counts = append(b.bounds, x.GetUpperBound()), append(b.counts, x.GetCumulativeCount())
	}
	return b
}

// since returns what has come after before.
func (b buckets) since(before buckets) buckets {
	if len(before.counts) != len(b.counts) || before.count > b.count {
		return b
	}
	d := buckets{b.bounds, slices.Clone(b.counts), b.count - before.count}
	for i := range d.counts {
		d.counts[i] -= before.counts[i]
	}
	return d
}

// quantile estimates one as Prometheus does: linear within a bucket, and the
// highest bound for what is above it. It reports whether there is anything.
func (b buckets) quantile(q float64) (float64, bool) {
	if b.count == 0 || len(b.bounds) == 0 {
		return 0, false
	}
	rank, below, low := q*float64(b.count), uint64(0), 0.0
	for i, n := range b.counts {
		if float64(n) >= rank {
			if n == below {
				return b.bounds[i], true
			}
			return low + (b.bounds[i]-low)*(rank-float64(below))/float64(n-below), true
		}
		below, low = n, b.bounds[i]
	}
	return b.bounds[len(b.bounds)-1], true
}
