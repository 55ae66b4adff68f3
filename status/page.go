package status

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Options say what a page shows. The zero value of each works.
type Options struct {
	// Channel is the node that the page is about; nil means a page that says that
	// high availability is off. If it is a backend.Inspector, the page also shows
	// what each member last sent, and each state's size and digest.
	Channel backend.ClusterChannel

	// Gatherer has the metrics of Channel; without it the page shows no counters
	// and no charts.
	Gatherer prometheus.Gatherer

	// Act is the verb of what the first member does before the others. Default
	// "acts".
	Act string

	// Title heads the page. Default "Cluster status".
	Title string

	// Interval is how often the page looks for changes. Default 1s.
	Interval time.Duration

	// Events is how many recent events are kept. Default 100.
	Events int
}

// Page is an http.Handler, live until Close.
type Page struct {
	opts   Options
	events *ring
	absent absent
	past   *history
	cancel context.CancelFunc
	done   chan struct{}
	tasks  sync.WaitGroup

	looking sync.Mutex // held while a look is taken

	mu      sync.Mutex
	latest  Snapshot
	changed chan struct{} // closed and replaced when latest was
	streams int
	gone    sync.WaitGroup // the streams under way
}

// maxStreams bounds how many readers a page keeps up to date at once. Another
// reader gets the page without updates.
const maxStreams = 64

// New returns a page, which watches the channel until Close.
func New(o Options) *Page {
	if o.Title == "" {
		o.Title = "Cluster status"
	}
	if o.Act == "" {
		o.Act = "acts"
	}
	if o.Interval <= 0 {
		o.Interval = time.Second
	}
	if o.Events <= 0 {
		o.Events = 100
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Page{opts: o, events: newRing(o.Events), past: newHistory(looksPerSample * o.Interval), cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	p.refresh()
	p.tasks.Go(func() { p.poll(ctx) })
	if o.Channel != nil {
		p.tasks.Go(func() { p.watch(ctx) })
	}
	return p
}

// Close ends the streams and stops watching the node. The page then shows what
// it knew last. Further calls do nothing.
func (p *Page) Close() {
	p.mu.Lock()
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	p.mu.Unlock()
	p.cancel()
	p.tasks.Wait()
	p.gone.Wait()
}

// watch turns changes of the view into events.
func (p *Page) watch(ctx context.Context) {
	var last *backend.View
	for v := range p.opts.Channel.Watch(ctx) {
		now := time.Now()
		p.events.compare(last, v, now)
		p.absent.compare(last, v, now)
		last = &v
		p.refresh()
	}
}

// poll reads again what sends no notice of changes: counters and states.
func (p *Page) poll(ctx context.Context) {
	tick := time.NewTicker(p.opts.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.refresh()
		case <-ctx.Done():
			return
		}
	}
}

// refresh takes another snapshot, and notifies the streams.
func (p *Page) refresh() {
	p.looking.Lock()
	defer p.looking.Unlock()
	s := p.look()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = s
	close(p.changed)
	p.changed = make(chan struct{})
}

// current returns the latest look, and a channel that is closed at the next one.
func (p *Page) current() (Snapshot, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest, p.changed
}

// policy allows the page's own styles and scripts, by their hashes, and nothing
// else.
var policy = "default-src 'none'; style-src '" + hashOf(style) + "'; script-src '" + hashOf(script) + "'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP answers GET and HEAD.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are answered", http.StatusMethodNotAllowed)
		return
	}
	switch kind := negotiate(r); {
	case kind == eventStream && r.Method == http.MethodGet:
		p.serveStream(w, r)
	case kind == jsonText:
		p.serveJSON(w)
	default:
		p.serveHTML(w)
	}
}

const (
	eventStream = "text/event-stream"
	jsonText    = "application/json"
	htmlText    = "text/html"
)

// negotiate returns the format for r: the first one that it accepts and that
// exists.
func negotiate(r *http.Request) string {
	if r.URL.Query().Get("format") == "json" || strings.HasSuffix(r.URL.Path, ".json") {
		return jsonText
	}
	for wanted := range strings.SplitSeq(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, _, _ := strings.Cut(wanted, ";")
		switch kind = strings.ToLower(strings.TrimSpace(kind)); kind {
		case eventStream, jsonText, htmlText:
			return kind
		}
	}
	return htmlText
}
