package picture

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/yubin-mail/yubin/pkg/testserver/prometheus"
)

// graph draws lines over time, with a legend below.
func (c *canvas) graph(p Panel, lines []Line, b box, data Data) {
	if p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal" {
		lines = stack(lines)
	}
	low, high := p.span(lines)
	unit, decimals := p.FieldConfig.Defaults.Unit, p.FieldConfig.Defaults.Decimals
	legendRows := min(3, 1+(len(lines)-1)/max(1, int(b.w/110)))
	plot := box{b.x + 52, b.y, b.w - 56, b.h - 18 - 14*float64(legendRows)}
	at := func(t time.Time, v float64) (float64, float64) {
		return plot.x + plot.w*float64(t.Sub(data.From))/float64(data.To.Sub(data.From)), plot.y + plot.h*(1-(min(high, max(low, v))-low)/(high-low))
	}
	for i := range 5 {
		v := low + (high-low)*float64(i)/4
		_, y := at(data.From, v)
		c.printf(`<path d="M%.0f %.1fh%.0f" stroke="#e7e9eb"/>`, plot.x, y, plot.w)
		if i%2 == 0 {
			c.text(plot.x-4, y+4, `text-anchor="end" font-size="10" fill="#6e7781"`, value(v, unit, decimals))
		}
	}
	for i, anchor := range []string{"start", "middle", "end"} {
		t := data.From.Add(data.To.Sub(data.From) * time.Duration(i) / 2)
		x, _ := at(t, low)
		c.text(x, plot.y+plot.h+12, `font-size="10" fill="#6e7781" text-anchor="`+anchor+`"`, t.UTC().Format("15:04:05"))
	}
	for i, l := range lines {
		c.line(l, palette[i%len(palette)], at)
	}
	c.legend(lines, box{b.x, plot.y + plot.h + 28, b.w, 14 * float64(legendRows)})
}

// line draws a series, with a gap where it has no number.
func (c *canvas) line(l Line, color string, at func(time.Time, float64) (x, y float64)) {
	c.printf(`<path fill="none" stroke="%s" stroke-width="1.5" d="`, color)
	pen := byte('M')
	for _, s := range l.Samples {
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			pen = 'M'
			continue
		}
		x, y := at(s.Time, s.Value)
		c.printf("%c%.0f %.1f", pen, x, y)
		pen = 'L'
	}
	c.printf(`"/>`)
}

func (c *canvas) legend(lines []Line, b box) {
	perRow := max(1, int(b.w/110))
	cell := b.w / float64(perRow)
	for i, l := range lines {
		x, y := b.x+cell*float64(i%perRow), b.y+14*float64(i/perRow)
		if y >= b.y+b.h {
			return
		}
		c.printf(`<rect x="%.0f" y="%.0f" width="10" height="3" fill="%s"/>`, x, y-5, palette[i%len(palette)])
		c.text(x+14, y, `font-size="10"`, clip(l.Legend, cell-16))
	}
}

// stack puts each line on those before it, the first one lowest.
func stack(lines []Line) []Line {
	sum := map[time.Time]float64{}
	out := slices.Clone(lines)
	slices.SortStableFunc(out, func(a, b Line) int { return cmp.Compare(a.Legend, b.Legend) })
	for i, l := range out {
		out[i].Samples = slices.Clone(l.Samples)
		for j, s := range l.Samples {
			sum[s.Time] += s.Value
			out[i].Samples[j] = prometheus.Sample{Time: s.Time, Value: sum[s.Time]}
		}
	}
	return out
}
