package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// series is one contender's line in each panel of a chart.
type series struct {
	title  string
	prices []price
}

// panel is one diagram of a chart: a value over the number of nodes, both on
// logarithmic scales.
type panel struct {
	title string
	unit  string
	value func(price) float64
}

// figure is what a chart shows.
type figure struct {
	panels []panel
	label  string // of the horizontal axis
	note   string // below all
	guides bool   // growth by the first and the second power
}

var growthFigure = figure{panels: []panel{
	{"idle", "messages a second", func(p price) float64 { return p.Idle.messages() }},
	{"one broadcast", "messages", func(p price) float64 { return p.Broadcast.messages() }},
	{"one join", "messages", func(p price) float64 { return p.Join.messages() }},
	{"idle", "bytes a second", func(p price) float64 { return p.Idle.Bytes }},
	{"one broadcast", "bytes", func(p price) float64 { return p.Broadcast.Bytes }},
	{"one join", "bytes", func(p price) float64 { return p.Join.Bytes }},
}, label: "nodes", guides: true, note: "Both axes are logarithmic. Dashed: growth in proportion to the number of nodes, and to its square."}

// Sizes in user units.
const (
	columns    = 3
	panelWide  = 300
	panelHigh  = 230
	plotLeft   = 62
	plotTop    = 34
	plotWide   = 220
	plotHigh   = 140
	headerHigh = 64
	footerHigh = 26
)

// The colours are legible on light and on dark ground; text and lines follow the
// reader's preference.
const style = `
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.panel { font-weight: 600 }
.tick { font-size: 10px }
.axis { stroke: #57606a; fill: none }
.grid { stroke: #d0d7de; fill: none }
.guide { stroke: #8c959f; stroke-dasharray: 3 3; fill: none }
.ground { fill: #ffffff }
.s0 { stroke: #0969da; fill: #0969da } .s1 { stroke: #bc4c00; fill: #bc4c00 } .s2 { stroke: #1a7f37; fill: #1a7f37 }
polyline { fill: none !important; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.axis { stroke: #8d96a0 }
.grid { stroke: #30363d }
.guide { stroke: #6e7681 }
.ground { fill: #0d1117 }
.s0 { stroke: #4493f8; fill: #4493f8 } .s1 { stroke: #f0883e; fill: #f0883e } .s2 { stroke: #3fb950; fill: #3fb950 }
}
`

// chart draws all panels as one SVG document.
func (f figure) chart(title string, all []series) string {
	rows := (len(f.panels) + columns - 1) / columns
	width, height := columns*panelWide, headerHigh+rows*panelHigh+footerHigh
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img">`+"\n", width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<style>%s</style>\n", html.EscapeString(title), style)
	fmt.Fprintf(&b, `<rect class="ground" width="%d" height="%d"/>`+"\n", width, height)
	fmt.Fprintf(&b, `<text class="title" x="16" y="26">%s</text>`+"\n", html.EscapeString(title))
	legend(&b, all)
	for i, p := range f.panels {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%columns*panelWide, headerHigh+i/columns*panelHigh)
		p.draw(&b, f, all)
		b.WriteString("</g>\n")
	}
	fmt.Fprintf(&b, `<text class="tick" x="16" y="%d">%s</text>`+"\n</svg>\n", height-10, html.EscapeString(f.note))
	return b.String()
}

func legend(b *strings.Builder, all []series) {
	x := 16
	for i, s := range all {
		fmt.Fprintf(b, `<circle class="s%d" cx="%d" cy="45" r="5"/><text x="%d" y="49">%s</text>`+"\n", i, x+5, x+16, html.EscapeString(s.title))
		x += 40 + 8*len(s.title)
	}
}

// axis maps values onto a line, by their logarithms.
type axis struct{ low, high, from, to float64 }

func (a axis) at(v float64) float64 {
	v = max(v, a.low)
	return a.from + (math.Log(v)-math.Log(a.low))/(math.Log(a.high)-math.Log(a.low))*(a.to-a.from)
}

// axes fit all values of the panel, the vertical one between powers of ten.
func (p panel) axes(all []series) (x, y axis) {
	low, high, least, most := math.Inf(1), 0.0, math.Inf(1), 0.0
	for _, s := range all {
		for _, price := range s.prices {
			low, high = min(low, float64(price.Nodes)), max(high, float64(price.Nodes))
			if v := p.value(price); v >= 0.1 {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	if most == 0 {
		least, most = 1, 10
	}
	if low == high {
		high = low * 2
	}
	least = math.Pow(10, math.Floor(math.Log10(least)))
	most = max(math.Pow(10, math.Ceil(math.Log10(most))), least*10)
	return axis{low, high, plotLeft, plotLeft + plotWide}, axis{least, most, plotTop + plotHigh, plotTop}
}

func (p panel) draw(b *strings.Builder, f figure, all []series) {
	x, y := p.axes(all)
	fmt.Fprintf(b, `<text class="panel" x="%d" y="20">%s</text>`+"\n", plotLeft, html.EscapeString(p.title))
	for v := y.low; v <= y.high*1.001; v *= 10 {
		fmt.Fprintf(b, `<path class="grid" d="M%d %.1fh%d"/><text class="tick" text-anchor="end" x="%d" y="%.1f">%s</text>`+"\n",
			plotLeft, y.at(v), plotWide, plotLeft-5, y.at(v)+3, short(v))
	}
	for _, price := range all[0].prices {
		fmt.Fprintf(b, `<text class="tick" text-anchor="middle" x="%.1f" y="%d">%d</text>`+"\n", x.at(float64(price.Nodes)), plotTop+plotHigh+14, price.Nodes)
	}
	fmt.Fprintf(b, `<path class="axis" d="M%d %dv%dh%d"/>`+"\n", plotLeft, plotTop, plotHigh, plotWide)
	fmt.Fprintf(b, `<text class="tick" text-anchor="middle" x="%d" y="%d">%s</text>`+"\n", plotLeft+plotWide/2, plotTop+plotHigh+28, html.EscapeString(f.label))
	fmt.Fprintf(b, `<text class="tick" text-anchor="middle" transform="translate(14 %d) rotate(-90)">%s</text>`+"\n", plotTop+plotHigh/2, p.unit)
	if f.guides {
		p.guides(b, all[0], x, y)
	}
	for i, s := range all {
		p.line(b, i, s, x, y)
	}
}

// guides draw growth by the first and the second power, from where the series
// begins.
func (p panel) guides(b *strings.Builder, s series, x, y axis) {
	start := max(p.value(s.prices[0]), y.low)
	for _, power := range []float64{1, 2} {
		end := x.high
		if v := start * math.Pow(end/x.low, power); v > y.high {
			end = x.low * math.Pow(y.high/start, 1/power)
		}
		v := start * math.Pow(end/x.low, power)
		fmt.Fprintf(b, `<path class="guide" d="M%.1f %.1fL%.1f %.1f"/>`+"\n", x.at(x.low), y.at(start), x.at(end), y.at(v))
	}
}

func (p panel) line(b *strings.Builder, i int, s series, x, y axis) {
	var points []string
	for _, price := range s.prices {
		px, py := x.at(float64(price.Nodes)), y.at(p.value(price))
		points = append(points, fmt.Sprintf("%.1f,%.1f", px, py))
		fmt.Fprintf(b, `<circle class="s%d" cx="%.1f" cy="%.1f" r="3"><title>%d nodes: %.1f</title></circle>`+"\n", i, px, py, price.Nodes, p.value(price))
	}
	fmt.Fprintf(b, `<polyline class="s%d" points="%s"/>`+"\n", i, strings.Join(points, " "))
}

// short writes a power of ten.
func short(v float64) string {
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.0fG", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.0fM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%.0fk", v/1e3)
	}
	return fmt.Sprintf("%g", v)
}
