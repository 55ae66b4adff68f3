package status

import (
	"bytes"
	"net/http"
	"time"
)

// aliveEvery is how often a stream without events sends a sign of life: proxies
// end a silent one, and the page takes it for lost.
const aliveEvery = 15 * time.Second

// sendLimit is how long a reader may take for one event.
const sendLimit = 10 * time.Second

// enter takes a place among the streams, if there is one.
func (p *Page) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.done:
		return false
	default:
	}
	if p.streams == maxStreams {
		return false
	}
	p.streams++
	p.gone.Add(1)
	return true
}

func (p *Page) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams--
	p.gone.Done()
}

// serveStream sends the sections of the page whenever one has changed.
func (p *Page) serveStream(w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "too many readers, or the page is closed", http.StatusServiceUnavailable)
		return
	}
	defer p.leave()
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("X-Accel-Buffering", "no") // proxies such as nginx would keep events back
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	out := http.NewResponseController(w)
	var sent []byte
	for {
		s, changed := p.current()
		b, err := render("sections", s)
		if err != nil {
			return
		}
		if !bytes.Equal(b, sent) {
			if !write(w, out, event(b)) {
				return
			}
			sent = b
		}
		select {
		case <-changed:
		case <-alive.C:
			if !write(w, out, []byte("event: alive\ndata:\n\n")) {
				return
			}
		case <-r.Context().Done():
			return
		case <-p.done:
			return
		}
	}
}

// event puts text into the lines of one event.
func event(text []byte) []byte {
	var b bytes.Buffer
	b.WriteString("retry: 2000\n")
	for line := range bytes.SplitSeq(bytes.TrimSpace(bytes.ReplaceAll(text, []byte("\r"), nil)), []byte("\n")) {
		b.WriteString("data: ")
		b.Write(line)
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// write reports whether the reader has received b.
func write(w http.ResponseWriter, out *http.ResponseController, b []byte) bool {
	_ = out.SetWriteDeadline(time.Now().Add(sendLimit)) // not every writer has a deadline
	if _, err := w.Write(b); err != nil {
		return false
	}
	return out.Flush() == nil
}
