package grafana

import "strings"

// Query is a PromQL expression in short form, and the legend of its series. {@} stands for the matchers of the variables job and
// instance, {@,code="250"} has more of them; [~] is the range $__rate_interval.
type Query struct {
	Expr, Legend string
}

// Q makes a Query.
func Q(expr, legend string) Query { return Query{Expr: expr, Legend: legend} }

const matchers = `{job=~"$job", instance=~"$instance"`

var short = strings.NewReplacer("{@}", matchers+"}", "{@,", matchers+", ", "[~]", "[$__rate_interval]")

var prometheus = &Datasource{Type: "prometheus", UID: "${datasource}"}

func panel(kind, title, description, unit string, queries []Query) Panel {
	p := Panel{
		Type: kind, Title: title, Description: description, Datasource: prometheus, GridPos: GridPos{W: 8, H: 8},
		FieldConfig: &FieldConfig{Defaults: FieldDefaults{Unit: unit, Color: Color{Mode: "palette-classic"}}, Overrides: []any{}},
	}
	for i, q := range queries {
		p.Targets = append(p.Targets, Target{
			RefID: string(rune('A' + i)), Datasource: prometheus, EditorMode: "code", Expr: short.Replace(q.Expr), LegendFormat: q.Legend, Range: true,
		})
	}
	return p
}

// Graph draws series over time.
func Graph(title, description, unit string, queries ...Query) Panel {
	p := panel("timeseries", title, description, unit, queries)
	p.FieldConfig.Defaults.Custom = map[string]any{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never"}
	p.Options = map[string]any{
		"legend":  map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}},
		"tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}
	return p
}

// Stat shows the last value of each series, large.
func Stat(title, description, unit string, queries ...Query) Panel {
	p := panel("stat", title, description, unit, queries)
	p.GridPos = GridPos{W: 4, H: 4}
	p.FieldConfig.Defaults.Color.Mode = "thresholds"
	p.FieldConfig.Defaults.Thresholds = thresholds(nil)
	p.Options = map[string]any{
		"colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto", "reduceOptions": lastValue(),
	}
	return p
}

// Bars shows the last value of each series as a bar.
func Bars(title, description, unit string, queries ...Query) Panel {
	p := panel("bargauge", title, description, unit, queries)
	p.FieldConfig.Defaults.Color.Mode = "thresholds"
	p.FieldConfig.Defaults.Thresholds = thresholds(nil)
	p.Options = map[string]any{"displayMode": "basic", "orientation": "horizontal", "showUnfilled": true, "valueMode": "color", "reduceOptions": lastValue()}
	for i := range p.Targets {
		p.Targets[i].Range, p.Targets[i].Instant = false, true
	}
	return p
}

// Table shows the labels and the last value of each series of one query.
func Table(title, description, unit string, query Query) Panel {
	p := panel("table", title, description, unit, []Query{query})
	p.FieldConfig.Defaults.Color.Mode = "thresholds"
	t := &p.Targets[0]
	t.Range, t.Instant, t.Format = false, true, "table"
	p.Options = map[string]any{"showHeader": true, "cellHeight": "sm"}
	p.Transformations = []Transformation{{ID: "organize", Options: map[string]any{"excludeByName": map[string]bool{"Time": true}}}}
	return p
}

func lastValue() map[string]any {
	return map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}
}

// Wide gives the panel a width in columns, of 24.
func (p Panel) Wide(columns int) Panel {
	p.GridPos.W = columns
	return p
}

// High gives the panel a height in rows of the grid, of 30 pixels each.
func (p Panel) High(rows int) Panel {
	p.GridPos.H = rows
	return p
}

// Stacked draws the series above each other.
func (p Panel) Stacked() Panel {
	p.FieldConfig.Defaults.Custom["stacking"] = map[string]any{"mode": "normal", "group": "A"}
	p.FieldConfig.Defaults.Custom["fillOpacity"] = 30
	return p
}

// Exemplars shows traces of single requests in the graph.
func (p Panel) Exemplars() Panel {
	for i := range p.Targets {
		p.Targets[i].Exemplar = true
	}
	return p
}

// From0 lets the scale begin at 0 and, if to is not 0, end there.
func (p Panel) From0(to float64) Panel {
	zero := 0.0
	p.FieldConfig.Defaults.Min = &zero
	if to != 0 {
		p.FieldConfig.Defaults.Max = &to
	}
	return p
}

// Decimals rounds what is shown.
func (p Panel) Decimals(n int) Panel {
	p.FieldConfig.Defaults.Decimals = &n
	return p
}

// OrElse is what is shown where a query has no result.
func (p Panel) OrElse(text string) Panel {
	p.FieldConfig.Defaults.NoValue = text
	return p
}

// Limits colors values from the first number on orange and from the second on red; in the other direction if the second is smaller.
func (p Panel) Limits(orange, red float64) Panel {
	steps := []Step{{"green", nil}, {"orange", &orange}, {"red", &red}}
	if red < orange {
		steps = []Step{{"red", nil}, {"orange", &red}, {"green", &orange}}
	}
	p.FieldConfig.Defaults.Thresholds = thresholds(steps)
	if p.Type == "timeseries" {
		p.FieldConfig.Defaults.Custom["thresholdsStyle"] = map[string]any{"mode": "dashed"}
	}
	return p
}

// Bad colors every value above 0 red.
func (p Panel) Bad() Panel {
	least := 1e-9
	p.FieldConfig.Defaults.Thresholds = thresholds([]Step{{"green", nil}, {"red", &least}})
	return p
}

func thresholds(steps []Step) *Thresholds {
	if steps == nil {
		steps = []Step{{"green", nil}}
	}
	return &Thresholds{Mode: "absolute", Steps: steps}
}
