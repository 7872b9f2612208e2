package metrics

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/yubin-mail/yubin/tests/harness"
)

// row is a metric in docs/metrics.md.
type row struct {
	kind, labels, help string
	// rare: its series exist only where something is configured, or once something has happened that a run does not do for sure.
	rare bool
}

// table is the metrics by name.
type table map[string]row

// sections of the page, by prefix of the names; the first that fits.
var sections = []struct{ prefix, title string }{
	{"yubin_smtp_", "SMTP"}, {"yubin_pop3_", "POP3"}, {"yubin_imap_", "IMAP"}, {"yubin_storage_", "Storage"}, {"yubin_quota_", "Quota"},
	{"yubin_directory_", "Directory"}, {"grpc_", "gRPC"}, {"yubin_", "Every service"},
}

const rareTitle = "Only where it is configured, or once it has happened"

func docs(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(harness.Root(tb), "docs", "metrics.md")
}

// add adds what a process tells, but for the runtime's own.
func (t table) add(tb testing.TB, f families) {
	tb.Helper()
	for name, family := range f {
		if !strings.HasPrefix(name, "yubin_") && !strings.HasPrefix(name, "grpc_") {
			continue
		}
		labels := labelNames(family)
		r := row{kind: strings.ToLower(dto.MetricType_name[int32(family.GetType())]), help: family.GetHelp()}
		if len(labels) > 0 {
			r.labels = "`" + strings.Join(labels, "`, `") + "`"
		}
		if other, ok := t[name]; ok && other != r {
			tb.Errorf("%s is told in two ways: %+v and %+v", name, other, r)
		}
		t[name] = r
	}
}

// readDocs reads the page.
func readDocs(tb testing.TB) table {
	tb.Helper()
	text, err := os.ReadFile(docs(tb))
	if err != nil {
		tb.Fatal(err)
	}
	out, rare := table{}, false
	for line := range strings.Lines(string(text)) {
		if title, ok := strings.CutPrefix(strings.TrimSpace(line), "## "); ok {
			rare = title == rareTitle
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 4 || !strings.HasPrefix(line, "| `") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		out[strings.Trim(cells[0], "`")] = row{kind: cells[1], labels: cells[2], help: strings.ReplaceAll(cells[3], `\|`, "|"), rare: rare}
	}
	return out
}

// write writes the page: what was found, and what is rare.
func (t table) write(tb testing.TB, found table) {
	tb.Helper()
	for name := range t {
		if !t[name].rare {
			delete(t, name)
		}
	}
	for name, r := range found {
		r.rare = t[name].rare
		t[name] = r
	}
	var b strings.Builder
	b.WriteString(`# Metrics

What ` + "`/metrics`" + ` tells, on the address of ` + "`--admin-listen`" + ` of each service; the all-in-one tells it all in one place. ` + "`make generate-metrics`" + ` writes this page from a running
system, and a test compares the two. Besides these there are the ` + "`go_…`" + ` and ` + "`process_…`" + ` metrics of the Go client library. Histograms are classic and native; where a trace is
sampled, exemplars of times have its ` + "`trace_id`" + `. No label holds an address, an account or anything else that a client chooses. What is told of all accounts, mail or bodies is the same in
every replica: take the ` + "`max`" + `, not the ` + "`sum`" + `.
`)
	placed := map[string]bool{}
	section := func(title string, wanted func(name string, r row) bool) string {
		var rows []string
		for _, name := range slices.Sorted(maps.Keys(t)) {
			if r := t[name]; !placed[name] && wanted(name, r) {
				placed[name] = true
				rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, r.kind, r.labels, strings.ReplaceAll(r.help, "|", `\|`)))
			}
		}
		if len(rows) == 0 {
			return ""
		}
		return "\n## " + title + "\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n" + strings.Join(rows, "")
	}
	last := section(rareTitle, func(_ string, r row) bool { return r.rare })
	for _, s := range sections {
		b.WriteString(section(s.title, func(name string, _ row) bool { return strings.HasPrefix(name, s.prefix) }))
	}
	b.WriteString(last)
	if err := os.WriteFile(docs(tb), []byte(b.String()), 0o644); err != nil {
		tb.Fatal(err)
	}
}

// compare tells where the page and the system differ.
func (t table) compare(tb testing.TB, found table) {
	tb.Helper()
	for name, r := range found {
		documented, ok := t[name]
		if r.rare = documented.rare; !ok {
			tb.Errorf("%s is not in docs/metrics.md: make generate-metrics", name)
		} else if r != documented {
			tb.Errorf("%s is %+v, in docs/metrics.md %+v: make generate-metrics", name, r, documented)
		}
	}
	for name, r := range t {
		if _, ok := found[name]; !ok && !r.rare {
			tb.Errorf("%s is in docs/metrics.md, and no process tells it", name)
		}
	}
}
