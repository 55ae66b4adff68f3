package status

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the parts of the page
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"time"
)

//go:embed page.html
var pageText string

//go:embed page.css
var style string

//go:embed page.js
var script string

// hashOf returns the source expression of a Content-Security-Policy that allows
// text and nothing else.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"style":   func() template.CSS { return template.CSS(style) }, // our own text
	"script":  func() template.JS { return template.JS(script) },  // our own text
	"when":    func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"seconds": seconds,
	"zeros":   zeros,
	"bytes":   sizeText,
	"number":  func(v float64) string { return fmt.Sprintf("%.0f", v) },
}).Parse(pageText))

// seconds shows a duration that people can read.
func seconds(v float64) string {
	d := time.Duration(v * float64(time.Second))
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func sizeText(n int) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}

// zeros returns the counters that have nothing to say.
func zeros(all []Counter) []Counter {
	return slices.DeleteFunc(slices.Clone(all), func(c Counter) bool { return c.Value != 0 })
}

// render executes one of the templates.
func render(name string, s Snapshot) ([]byte, error) {
	var b bytes.Buffer
	err := page.ExecuteTemplate(&b, name, s)
	return b.Bytes(), err
}

func (p *Page) serveHTML(w http.ResponseWriter) {
	s, _ := p.current()
	b, err := render("page", s)
	send(w, htmlText+"; charset=utf-8", b, err)
}

func (p *Page) serveJSON(w http.ResponseWriter) {
	s, _ := p.current()
	b, err := json.MarshalIndent(s, "", "  ")
	send(w, jsonText, append(b, '\n'), err)
}

func send(w http.ResponseWriter, kind string, b []byte, err error) {
	if err != nil {
		http.Error(w, "the page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(b) // the client may be gone
}
