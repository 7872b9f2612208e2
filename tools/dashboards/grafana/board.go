package grafana

// columns is the width of a dashboard.
const columns = 24

// Tag is what all of Yubin's dashboards have, and by which they find each other.
const Tag = "yubin"

// Row is panels under a title.
type Row struct {
	Title  string
	Panels []Panel
}

// Section makes a Row.
func Section(title string, panels ...Panel) Row { return Row{Title: title, Panels: panels} }

// Board is a dashboard before its layout.
type Board struct {
	// UID is the name of its file and its address in Grafana.
	UID, Title, Description string
	// Jobs is a metric that every process has with which the dashboard has to do.
	Jobs string
	// Variables besides datasource, job and instance.
	Variables []Variable
	Rows      []Row
}

// Dashboard lays the panels out, from left to right and from top to bottom.
func (b Board) Dashboard() Dashboard {
	d := Dashboard{
		UID: b.UID, Title: b.Title, Description: b.Description, Tags: []string{Tag}, SchemaVersion: 39, GraphTooltip: 1, Refresh: "30s",
		Time: TimeRange{From: "now-3h", To: "now"},
		Links: []Link{{
			Title: "Yubin", Type: "dashboards", Tags: []string{Tag}, AsDropdown: true, IncludeVars: false, KeepTime: true,
		}},
		Templating: Templating{List: append([]Variable{
			{
				Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus", Current: &Option{Selected: true, Text: "default", Value: "default"},
			},
			labels("job", "Job", "label_values("+b.Jobs+", job)"),
			labels("instance", "Instance", "label_values("+b.Jobs+`{job=~"$job"}, instance)`),
		}, b.Variables...)},
	}
	y := 0
	add := func(p Panel) {
		p.ID = len(d.Panels) + 1
		d.Panels = append(d.Panels, p)
	}
	for _, row := range b.Rows {
		open := false
		add(Panel{Type: "row", Title: row.Title, Collapsed: &open, GridPos: GridPos{W: columns, H: 1, Y: y}})
		y++
		x, height := 0, 0
		for _, p := range row.Panels {
			if x+p.GridPos.W > columns {
				x, y, height = 0, y+height, 0
			}
			p.GridPos.X, p.GridPos.Y = x, y
			x, height = x+p.GridPos.W, max(height, p.GridPos.H)
			add(p)
		}
		y += height
	}
	return d
}

func labels(name, label, query string) Variable {
	return Variable{
		Name: name, Label: label, Type: "query", Datasource: prometheus, Query: query, Refresh: 2, Sort: 1, Multi: true, IncludeAll: true, AllValue: ".+",
		Current: &Option{Selected: true, Text: "All", Value: "$__all"},
	}
}

// Labels makes a variable of the values of a label; all of them at first, and also series without it.
func Labels(name, label, query string) Variable {
	v := labels(name, label, query)
	v.AllValue = ".*"
	return v
}

// Number makes a variable that the user types in.
func Number(name, label, description, value string) Variable {
	return Variable{
		Name: name, Label: label, Type: "textbox", Description: description, Query: value, Current: &Option{Selected: true, Text: value, Value: value},
	}
}
