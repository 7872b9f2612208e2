// Package picture draws a dashboard of Grafana, with the data that its queries had, as SVG. It is no Grafana: it draws what a reader needs to
// see of stat, timeseries, bargauge and table panels.
package picture

import (
	"regexp"
	"time"

	"github.com/yubin-mail/yubin/pkg/testserver/prometheus"
)

// Dashboard is as much of Grafana's model as is drawn.
type Dashboard struct {
	UID, Title string
	Templating struct {
		List []struct{ Name, Query, AllValue string }
	}
	Panels []Panel
}

// Panel is a panel, or a row's title.
type Panel struct {
	Title, Type string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ Expr, LegendFormat string }
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Min, Max   *float64
			Decimals   *int
			NoValue    string
			Thresholds struct {
				Steps []struct {
					Color string
					Value *float64
				}
			}
			Custom struct {
				Stacking struct{ Mode string }
			}
		}
	}
}

// Line is one series of a panel.
type Line struct {
	Legend  string
	Samples []prometheus.Sample
}

// last gives the newest sample.
func (l Line) last() float64 { return l.Samples[len(l.Samples)-1].Value }

// Data are the lines of each panel, by its index, and the time over which they were asked for.
type Data struct {
	From, To time.Time
	Lines    map[int][]Line
}

var label = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// Legend fills a series' labels into a legend's format.
func Legend(format string, labels map[string]string) string {
	return label.ReplaceAllStringFunc(format, func(reference string) string {
		return labels[label.FindStringSubmatch(reference)[1]]
	})
}
