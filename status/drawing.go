package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// The size of a chart, in its own units.
const (
	chartWidth  = 300
	chartHeight = 60
)

// Max returns the highest value of all lines.
func (c Chart) Max() (top float64) {
	for _, l := range c.Lines {
		for _, v := range l.Values {
			if v != nil {
				top = max(top, *v)
			}
		}
	}
	return top
}

// Caption says in words what the lines show.
func (c Chart) Caption() string {
	var lately []string
	measured := false
	for _, l := range c.Lines {
		measured = measured || slices.ContainsFunc(l.Values, func(v *float64) bool { return v != nil })
		if latest := l.Latest(); latest != nil && len(c.Lines) > 1 {
			lately = append(lately, l.Name+" "+c.Text(*latest))
		} else if latest != nil {
			lately = append(lately, c.Text(*latest))
		}
	}
	if !measured {
		return c.Title + ": none"
	}
	return fmt.Sprintf("%s: %s lately; the top is %s", c.Title, cmp.Or(strings.Join(lately, ", "), "none"), c.Text(c.Max()))
}

// Text shows a value in the chart's unit.
func (c Chart) Text(v float64) string {
	if c.Unit == "seconds" {
		return seconds(v)
	}
	return fmt.Sprintf("%.4g %s", v, c.Unit)
}

// Latest returns the newest value, nil where nothing was measured.
func (l Line) Latest() *float64 {
	if len(l.Values) == 0 {
		return nil
	}
	return l.Values[len(l.Values)-1]
}

// Points returns the parts of a line, each the points of an SVG polyline: it ends
// where nothing was measured.
func (c Chart) Points(l Line) []string {
	top := c.Max()
	if top <= 0 {
		top = 1
	}
	const step = float64(chartWidth) / (maxSamples - 1)
	var parts []string
	var part []string
	end := func() {
		if len(part) == 1 { // a line of one point is not drawn
			x, y, _ := strings.Cut(part[0], ",")
			part = append(part, x+".9,"+y)
		}
		if part != nil {
			parts = append(parts, strings.Join(part, " "))
		}
		part = nil
	}
	for i, v := range l.Values {
		if v == nil {
			end()
			continue
		}
		x := chartWidth - float64(len(l.Values)-1-i)*step
		part = append(part, fmt.Sprintf("%d,%.1f", int(x), chartHeight-2-*v/top*(chartHeight-4)))
	}
	end()
	return parts
}
