package picture

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes in pixels: of a column and a row of the grid, of the space between panels, of the title above all.
const (
	column, row, gap, head = 40, 30, 6, 34
	width                  = 24 * column
)

// palette are the colors of lines, in their order.
var palette = []string{"#5794f2", "#73bf69", "#f2cc0c", "#ff9830", "#f2495c", "#b877d9", "#37872d", "#8ab8ff", "#fade2a", "#c4162a"}

var named = map[string]string{"green": "#2f9e44", "orange": "#e8590c", "red": "#e03131"}

// Draw draws a dashboard. The note is written beside its title.
func Draw(d Dashboard, data Data, note string) []byte {
	height := 0
	for _, p := range d.Panels {
		height = max(height, p.GridPos.Y+p.GridPos.H)
	}
	c := &canvas{}
	c.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="Inter, Helvetica, Arial, sans-serif" font-size="11" fill="#24292e">`, width, head+height*row)
	c.printf(`<rect width="100%%" height="100%%" fill="#f4f5f5"/>`)
	c.text(gap, 22, `font-size="16" font-weight="600"`, d.Title)
	c.text(width-gap, 22, `text-anchor="end" fill="#6e7781"`, note)
	for i, p := range d.Panels {
		c.panel(p, data.Lines[i], data)
	}
	c.printf("</svg>\n")
	return c.Bytes()
}

type canvas struct{ bytes.Buffer }

func (c *canvas) printf(format string, args ...any) { fmt.Fprintf(&c.Buffer, format, args...) }

func (c *canvas) text(x, y float64, attributes, text string) {
	c.printf(`<text x="%.0f" y="%.0f" %s>%s</text>`, x, y, attributes, html.EscapeString(text))
}

// box is a place on the canvas.
type box struct{ x, y, w, h float64 }

func (c *canvas) panel(p Panel, lines []Line, data Data) {
	g := p.GridPos
	b := box{float64(g.X * column), head + float64(g.Y*row), float64(g.W * column), float64(g.H * row)}
	if p.Type == "row" {
		c.text(b.x+gap, b.y+20, `font-size="13" font-weight="600"`, p.Title)
		return
	}
	b = box{b.x + gap/2, b.y + gap/2, b.w - gap, b.h - gap}
	c.printf(`<rect x="%.0f" y="%.0f" width="%.0f" height="%.0f" rx="2" fill="#fff" stroke="#d8dade"/>`, b.x, b.y, b.w, b.h)
	c.text(b.x+8, b.y+17, `font-weight="600"`, clip(p.Title, b.w-12))
	inner := box{b.x + 8, b.y + 26, b.w - 16, b.h - 32}
	if len(lines) == 0 {
		none := p.FieldConfig.Defaults.NoValue
		if none == "" {
			none = "No data"
		}
		c.text(inner.x+inner.w/2, inner.y+inner.h/2, `text-anchor="middle" fill="#6e7781"`, none)
		return
	}
	switch p.Type {
	case "stat":
		c.stat(p, lines, inner)
	case "bargauge":
		c.bars(p, lines, inner)
	case "table":
		c.table(p, lines, inner)
	default:
		c.graph(p, lines, inner, data)
	}
}

func (c *canvas) stat(p Panel, lines []Line, b box) {
	size := min(26, b.h/float64(len(lines))*0.55, b.w/6)
	for i, l := range lines {
		y := b.y + b.h*(float64(i)+0.5)/float64(len(lines)) + size/3
		text := value(l.last(), p.FieldConfig.Defaults.Unit, p.FieldConfig.Defaults.Decimals)
		if len(lines) > 1 {
			c.text(b.x, y, `fill="#6e7781"`, clip(l.Legend, b.w/2))
			c.text(b.x+b.w, y, fmt.Sprintf(`text-anchor="end" font-size="%.0f" font-weight="600" fill="%s"`, size, p.color(l.last())), text)
			continue
		}
		c.text(b.x+b.w/2, y, fmt.Sprintf(`text-anchor="middle" font-size="%.0f" font-weight="600" fill="%s"`, size, p.color(l.last())), text)
	}
}

func (c *canvas) bars(p Panel, lines []Line, b box) {
	most := 0.0
	for _, l := range lines {
		most = max(most, l.last())
	}
	if p.FieldConfig.Defaults.Max != nil {
		most = *p.FieldConfig.Defaults.Max
	}
	step := b.h / float64(len(lines))
	for i, l := range lines {
		y, name, number := b.y+step*float64(i), 0.36*b.w, 56.0
		part := 0.0
		if most > 0 {
			part = min(1, max(0, l.last()/most))
		}
		c.text(b.x, y+step*0.65, "", clip(l.Legend, name))
		c.printf(`<rect x="%.0f" y="%.1f" width="%.0f" height="%.1f" fill="#eceef0"/>`, b.x+name, y+step*0.15, b.w-name-number, step*0.7)
		c.printf(`<rect x="%.0f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, b.x+name, y+step*0.15, (b.w-name-number)*part, step*0.7, p.color(l.last()))
		c.text(b.x+b.w, y+step*0.65, `text-anchor="end"`, value(l.last(), p.FieldConfig.Defaults.Unit, p.FieldConfig.Defaults.Decimals))
	}
}

func (c *canvas) table(p Panel, lines []Line, b box) {
	for i, l := range lines {
		y := b.y + 14 + 16*float64(i)
		if y > b.y+b.h {
			return
		}
		c.text(b.x, y, "", clip(l.Legend, b.w-60))
		c.text(b.x+b.w, y, `text-anchor="end"`, value(l.last(), p.FieldConfig.Defaults.Unit, p.FieldConfig.Defaults.Decimals))
	}
}

// color is that of the highest threshold that v reaches.
func (p Panel) color(v float64) string {
	color := named["green"]
	for _, s := range p.FieldConfig.Defaults.Thresholds.Steps {
		if s.Value == nil || v >= *s.Value {
			color = named[s.Color]
		}
	}
	return color
}

func clip(s string, pixels float64) string {
	if most := int(pixels / 6); len(s) > most {
		return strings.TrimSpace(s[:max(0, most-1)]) + "…"
	}
	return s
}

// span gives the scale of a graph: what its panel says, else what is in the lines, and never nothing.
func (p Panel) span(lines []Line) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		for _, s := range l.Samples {
			if !math.IsNaN(s.Value) && !math.IsInf(s.Value, 0) {
				low, high = min(low, s.Value), max(high, s.Value)
			}
		}
	}
	if m := p.FieldConfig.Defaults.Min; m != nil {
		low = *m
	}
	if m := p.FieldConfig.Defaults.Max; m != nil {
		high = *m
	}
	if math.IsInf(low, 0) || math.IsInf(high, 0) {
		low, high = 0, 1
	}
	if high <= low {
		high = low + 1
	}
	return low, high
}
