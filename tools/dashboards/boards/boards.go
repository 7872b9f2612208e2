// Package boards has Yubin's dashboards, a file each.
package boards

import (
	"fmt"
	"strings"

	. "github.com/yubin-mail/yubin/tools/dashboards/grafana" //nolint:staticcheck // its words are the language of this package
)

// All gives the dashboards, in the order in which an operator looks at them.
func All() []Board {
	return []Board{Overview(), SMTP(), POP3(), IMAP(), Storage(), Quota(), Logins(), Mesh(), Scaling()}
}

// quantiles draws the median, 95 % and 99 % of a histogram.
func quantiles(title, description, histogram string) Panel {
	var queries []Query
	for _, q := range []struct{ of, legend string }{{"0.5", "median"}, {"0.95", "95 %"}, {"0.99", "99 %"}} {
		queries = append(queries, Q(quantile(q.of, histogram, ""), q.legend))
	}
	return Graph(title, description, "s", queries...).From0(0).Exemplars()
}

// quantile is the expression of a quantile, by labels, as "code, method". more are matchers besides those of the variables.
func quantile(of, histogram, by string, more ...string) string {
	if by != "" {
		by = ", " + by
	}
	return fmt.Sprintf("histogram_quantile(%s, sum by (le%s) (rate(%s_bucket%s[~])))", of, by, histogram, matching(more))
}

func matching(more []string) string {
	if len(more) == 0 {
		return "{@}"
	}
	return "{@," + strings.Join(more, ", ") + "}"
}

// bound matches a bucket's bound, which is written 1 or 1.0, as the format of the scrape has it.
func bound(le string) string {
	whole, fraction, _ := strings.Cut(le, ".")
	if fraction == "" {
		return fmt.Sprintf(`le=~"%s|%s.0"`, whole, whole)
	}
	return fmt.Sprintf(`le="%s"`, le)
}

// processes are what every dashboard of one service ends with.
func processes(service string) Row {
	only := ` * on (job, instance) group_left () max by (job, instance) (yubin_build_info{@,service=~"` + service + `|yubin"})`
	return Section("Processes",
		Graph("CPU", "Processors in use by each process. The all-in-one is one process for all services.", "short",
			Q("rate(process_cpu_seconds_total{@}[~])"+only, "{{instance}}")).From0(0).Wide(6),
		Graph("Memory", "Resident memory of each process.", "bytes", Q("process_resident_memory_bytes{@}"+only, "{{instance}}")).From0(0).Wide(6),
		Graph("Goroutines", "A number that only ever grows is a leak: report it.", "short", Q("go_goroutines{@}"+only, "{{instance}}")).From0(0).Wide(6),
		Graph("Open files", "File descriptors in use as a part of the process's limit: raise LimitNOFILE before it is reached.", "percentunit",
			Q("(process_open_fds{@} / process_max_fds{@})"+only, "{{instance}}")).From0(1).Limits(0.8, 0.95).Wide(6),
	)
}
