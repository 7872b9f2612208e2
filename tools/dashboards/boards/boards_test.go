package boards

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tools/dashboards/grafana"
)

// units are those of Grafana that the dashboards may use.
var units = []string{"short", "percentunit", "s", "dtdurations", "bytes", "decbytes", "Bps", "cps", "ops", "reqps", "currencyUSD"}

// each calls test for each panel that has data.
func each(t *testing.T, test func(t *testing.T, d grafana.Dashboard, p grafana.Panel)) {
	t.Helper()
	for _, b := range All() {
		d := b.Dashboard()
		for _, p := range d.Panels {
			if p.Type != "row" {
				t.Run(d.UID+"/"+p.Title, func(t *testing.T) { test(t, d, p) })
			}
		}
	}
}

func TestDashboardsHaveTheVariablesThatGrafanasLinterAsksFor(t *testing.T) {
	seen := map[string]bool{}
	for _, b := range All() {
		d := b.Dashboard()
		require.False(t, seen[d.UID] || seen[d.Title], "%s is there twice", d.UID)
		seen[d.UID], seen[d.Title] = true, true
		assert.False(t, d.Editable, d.UID)
		assert.NotEmpty(t, d.Description, d.UID)

		source := d.Templating.List[0]
		assert.Equal(t, []string{"datasource", "Data source", "datasource", "prometheus"}, []string{source.Name, source.Label, source.Type, source.Query}, d.UID)
		for i, want := range []struct{ name, label string }{{"job", "Job"}, {"instance", "Instance"}} {
			v := d.Templating.List[1+i]
			assert.Equal(t, []string{want.name, want.label, "query", ".+"}, []string{v.Name, v.Label, v.Type, v.AllValue}, d.UID)
			assert.True(t, v.Multi && v.IncludeAll, d.UID)
			assert.Equal(t, "${datasource}", v.Datasource.UID, d.UID)
			assert.Equal(t, 2, v.Refresh, "%s: variables follow the time range", d.UID)
			assert.Contains(t, v.Query, ", "+want.name+")", d.UID)
		}
	}
}

func TestPanelsSayWhatTheyShow(t *testing.T) {
	each(t, func(t *testing.T, _ grafana.Dashboard, p grafana.Panel) {
		assert.NotEmpty(t, p.Title)
		assert.Greater(t, len(p.Description), 5, "a description")
		assert.Regexp(t, `[.?]$`, p.Description, "a description is a sentence")
		assert.Contains(t, units, p.FieldConfig.Defaults.Unit)
		assert.Equal(t, "${datasource}", p.Datasource.UID)
		require.NotEmpty(t, p.Targets)
		legends := map[string]bool{}
		for _, target := range p.Targets {
			assert.NotEmpty(t, target.LegendFormat, target.Expr)
			assert.False(t, legends[target.LegendFormat], "two queries with the legend %q", target.LegendFormat)
			legends[target.LegendFormat] = true
			assert.Equal(t, "${datasource}", target.Datasource.UID)
			assert.NotEqual(t, target.Range, target.Instant)
		}
	})
}

func TestPanelsDoNotOverlap(t *testing.T) {
	for _, b := range All() {
		taken := map[[2]int]string{}
		ids := map[int]bool{}
		for _, p := range b.Dashboard().Panels {
			require.False(t, ids[p.ID], "%s: %s", b.UID, p.Title)
			ids[p.ID] = true
			require.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, "%s: %s", b.UID, p.Title)
			for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
				for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
					require.Empty(t, taken[[2]int{x, y}], "%s: %s", b.UID, p.Title)
					taken[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

// parse reads a query as Grafana sends it, with values instead of the variables that stand where PromQL wants a number or a duration.
func parse(t *testing.T, expr string) parser.Expr {
	t.Helper()
	expr = strings.ReplaceAll(expr, "$__rate_interval", "5m")
	expr = regexp.MustCompile(`\$\w+_price`).ReplaceAllString(expr, "1")
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	require.NoError(t, err, expr)
	return parsed
}

func TestQueriesFollowTheVariables(t *testing.T) {
	each(t, func(t *testing.T, d grafana.Dashboard, p grafana.Panel) {
		for _, target := range p.Targets {
			for _, selector := range parser.ExtractSelectors(parse(t, target.Expr)) {
				name := selected(selector)
				switch {
				case strings.HasPrefix(name, "kube_"), strings.HasPrefix(name, "container_"):
					// They come from kube-state-metrics and the kubelet, whose job and instance are not ours.
					assert.True(t, has(selector, labels.MatchRegexp, "namespace", "$namespace"), target.Expr)
				case name == "ALERTS", strings.Contains(name, ":ratio_rate"):
					// They are about the whole installation.
				default:
					assert.True(t, has(selector, labels.MatchRegexp, "job", "$job"), target.Expr)
					assert.True(t, has(selector, labels.MatchRegexp, "instance", "$instance"), target.Expr)
				}
			}
			for _, m := range regexp.MustCompile(`\$\{?(\w+)`).FindAllStringSubmatch(target.Expr, -1) {
				known := m[1] == "__rate_interval" || slices.ContainsFunc(d.Templating.List, func(v grafana.Variable) bool { return v.Name == m[1] })
				assert.True(t, known, "there is no variable %s", m[0])
			}
		}
	})
}

func TestCountersAreRatesOverTheIntervalOfThePanel(t *testing.T) {
	each(t, func(t *testing.T, _ grafana.Dashboard, p grafana.Panel) {
		for _, target := range p.Targets {
			parser.Inspect(parse(t, target.Expr), func(node parser.Node, path []parser.Node) error {
				s, ok := node.(*parser.VectorSelector)
				if !ok || !counter(selected(s.LabelMatchers)) {
					return nil
				}
				name := selected(s.LabelMatchers)
				if strings.HasPrefix(name, "grpc_server_") && strings.Contains(target.Expr, "grpc_server_started_total{") && !strings.Contains(target.Expr, "rate(") {
					return nil // the calls in progress are the difference of two counters
				}
				if strings.HasPrefix(name, "yubin_quota_accounts_fill_ratio") {
					return nil // a snapshot of all accounts
				}
				require.GreaterOrEqual(t, len(path), 2, target.Expr)
				call, ok := path[len(path)-2].(*parser.Call)
				require.True(t, ok && slices.Contains([]string{"rate", "increase"}, call.Func.Name), "%s is a counter: %s", name, target.Expr)
				return nil
			})
			for _, m := range regexp.MustCompile(`\[(\$\w+|\d+[a-z])\]`).FindAllStringSubmatch(target.Expr, -1) {
				assert.Contains(t, []string{"$__rate_interval", "1h"}, m[1], "a range is $__rate_interval, unless the panel's title says another")
				if m[1] == "1h" {
					assert.Contains(t, p.Title+p.Description, "hour", "%s says over what time", p.Title)
				}
			}
		}
	})
}

// selected gives the metric that a selector is for: its name, or the pattern of names.
func selected(matchers []*labels.Matcher) string {
	for _, m := range matchers {
		if m.Name == "__name__" {
			return m.Value
		}
	}
	return ""
}

func counter(name string) bool {
	for _, suffix := range []string{"_total", "_bucket", "_count", "_sum"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func has(matchers []*labels.Matcher, kind labels.MatchType, name, value string) bool {
	return slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return m.Type == kind && m.Name == name && m.Value == value })
}
