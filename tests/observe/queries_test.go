package observe

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/yubin-mail/yubin/tests/harness"
	"github.com/yubin-mail/yubin/tests/observe/picture"
)

// query is one expression of a panel or of a rule.
type query struct {
	// Where is the panel, or the rule, for the report.
	Where string
	// Expr has values instead of Grafana's variables.
	Expr string
}

// has tells whether something is in the expression.
func (q query) has(part string) bool { return strings.Contains(q.Expr, part) }

// dashboards reads what Grafana imports.
func dashboards(tb testing.TB) []picture.Dashboard {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(harness.Root(tb), "deploy/grafana/*.json"))
	require.NoError(tb, err)
	require.NotEmpty(tb, files)
	var all []picture.Dashboard
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(tb, err)
		var d picture.Dashboard
		require.NoError(tb, json.Unmarshal(text, &d), file)
		all = append(all, d)
	}
	return all
}

// rateInterval is what Grafana would choose, or more: what happens only now and then on a slow machine is still in it.
const rateInterval = "30s"

// substitute puts the values of a dashboard's variables into an expression, as Grafana does when everything is chosen.
func substitute(tb testing.TB, d picture.Dashboard, expr string) string {
	tb.Helper()
	return regexp.MustCompile(`\$\{?(\w+)\}?`).ReplaceAllStringFunc(expr, func(reference string) string {
		name := strings.Trim(reference, "${}")
		if name == "__rate_interval" {
			return rateInterval
		}
		for _, v := range d.Templating.List {
			switch {
			case v.Name != name:
			case v.AllValue != "":
				return v.AllValue
			default:
				return v.Query
			}
		}
		tb.Fatalf("%s: there is no variable %s", d.Title, reference)
		return ""
	})
}

func panelQueries(tb testing.TB) []query {
	tb.Helper()
	var all []query
	for _, d := range dashboards(tb) {
		for _, p := range d.Panels {
			for _, t := range p.Targets {
				all = append(all, query{fmt.Sprintf("%s: %s (%s)", d.Title, p.Title, t.LegendFormat), substitute(tb, d, t.Expr)})
			}
		}
	}
	return all
}

// rule is a rule of Prometheus.
type rule struct {
	Alert       string            `yaml:"alert"`
	Record      string            `yaml:"record"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// rulesDir has the rules, and their tests in tests/.
const rulesDir = "deploy/prometheus"

func rules(tb testing.TB) []rule {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(harness.Root(tb), rulesDir, "*.yaml"))
	require.NoError(tb, err)
	var all []rule
	groups := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(tb, err)
		var parsed struct {
			Groups []struct {
				Name  string
				Rules []rule
			}
		}
		require.NoError(tb, yaml.Unmarshal(text, &parsed), file)
		for _, g := range parsed.Groups {
			require.False(tb, groups[g.Name], "two groups %s: the chart puts all into one PrometheusRule, in which names are unique", g.Name)
			groups[g.Name] = true
			all = append(all, g.Rules...)
		}
	}
	require.NotEmpty(tb, all)
	return all
}

// ruleQueries gives the parts of all rules' expressions, such that each has a value whether the alert fires or not.
func ruleQueries(tb testing.TB) []query {
	tb.Helper()
	var all []query
	for _, r := range rules(tb) {
		for _, part := range operands(r.Expr) {
			all = append(all, query{r.Alert + r.Record, valued(part)})
		}
	}
	return all
}

// comparison is an operator that keeps or drops series; those within quotes and braces are not.
var comparison = regexp.MustCompile(`"[^"]*"|\{[^}]*\}|\s(==|!=|>=|<=|>|<)\s`)

// valued has comparisons give 0 or 1 instead of dropping what does not hold.
func valued(expr string) string {
	return comparison.ReplaceAllStringFunc(expr, func(match string) string {
		if strings.HasPrefix(match, " ") || strings.HasPrefix(match, "\n") {
			return match + "bool "
		}
		return match
	})
}

// operands takes an expression apart at and, or and unless, as far as these are not within a function's or an aggregation's parentheses.
func operands(expr string) []string {
	expr = strings.TrimSpace(expr)
	for strings.HasPrefix(expr, "(") && closing(expr) == len(expr)-1 {
		expr = strings.TrimSpace(expr[1 : len(expr)-1])
	}
	depth := 0
	for i, c := range expr {
		switch c {
		case '(', '{':
			depth++
		case ')', '}':
			depth--
		}
		if depth != 0 {
			continue
		}
		if word := setOperator.FindString(expr[i:]); word != "" {
			return append(operands(expr[:i]), operands(expr[i+len(word):])...)
		}
	}
	return []string{expr}
}

var setOperator = regexp.MustCompile(`^\s(and|or|unless)\s`)

// closing gives where the parenthesis with which the text begins is closed.
func closing(text string) int {
	depth := 0
	for i, c := range text {
		switch c {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func TestExpressionsAreTakenApart(t *testing.T) {
	for expr, want := range map[string][]string{
		`a > 1`:                               {`a > bool 1`},
		`(a > 1 and b{x="or"} == 2) or c < 3`: {`a > bool 1`, `b{x="or"} == bool 2`, `c < bool 3`},
		"sum(a)\nunless sum(b)":               {`sum(a)`, `sum(b)`},
		`sum(a) / sum(b > 0) > 0.5`:           {`sum(a) / sum(b > bool 0) > bool 0.5`},
	} {
		var got []string
		for _, part := range operands(expr) {
			got = append(got, valued(part))
		}
		require.Equal(t, want, got)
	}
}
