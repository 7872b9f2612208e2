package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
	"github.com/rivo/uniseg"
)

// column of a table. Numbers stand at the right.
type column struct {
	title string
	right bool
}

func left(title string) column  { return column{title: title} }
func right(title string) column { return column{title: title, right: true} }

// list prints items as JSON Lines or as a table.
func list[T any](a *app, items []T, columns []column, row func(T) []string) error {
	if a.json {
		for _, item := range items {
			if err := a.printJSON(item); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]string, 0, len(items)+1)
	titles := make([]string, 0, len(columns))
	for _, c := range columns {
		titles = append(titles, c.title)
	}
	rows = append(rows, titles)
	for _, item := range items {
		rows = append(rows, row(item))
	}
	return writeTable(a.out, columns, rows)
}

// details prints one thing as JSON or as lines of a name and a value.
func (a *app) details(object any, pairs ...[2]string) error {
	if a.json {
		return a.printJSON(object)
	}
	rows := make([][]string, 0, len(pairs))
	for _, p := range pairs {
		rows = append(rows, []string{p[0], p[1]})
	}
	return writeTable(a.out, []column{left(""), left("")}, rows)
}

// done says what was done, as JSON or as a sentence.
func (a *app) done(object any, format string, args ...any) error {
	if a.json {
		return a.printJSON(object)
	}
	_, err := fmt.Fprintln(a.out, printable(fmt.Sprintf(format, args...)))
	return err
}

// note tells a person something that is neither result nor error.
func (a *app) note(format string, args ...any) {
	fmt.Fprintln(a.errOut, printable(fmt.Sprintf(format, args...)))
}

func (a *app) printJSON(object any) error {
	e := json.NewEncoder(a.out)
	e.SetEscapeHTML(false)
	return e.Encode(object)
}

// writeTable aligns columns by what a terminal shows: an East Asian character is two columns wide, which
// text/tabwriter does not know.
func writeTable(w io.Writer, columns []column, rows [][]string) error {
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i := range row {
			row[i] = printable(row[i])
			widths[i] = max(widths[i], uniseg.StringWidth(row[i]))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			pad := strings.Repeat(" ", widths[i]-uniseg.StringWidth(cell))
			if columns[i].right {
				line.WriteString(pad + cell)
			} else {
				line.WriteString(cell + pad)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable replaces what could control the terminal: subjects and names come from strangers.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return '�'
		}
		return r
	}, s)
}

// clip shortens a text to so many columns.
func clip(s string, width int) string {
	if uniseg.StringWidth(s) <= width {
		return s
	}
	var b strings.Builder
	g := uniseg.NewGraphemes(s)
	for used := 0; g.Next(); {
		if used += g.Width(); used > width-1 {
			break
		}
		b.WriteString(g.Str())
	}
	return b.String() + "…"
}

func humanBytes(n int64) string {
	if n < 0 {
		return "-" + humanize.Bytes(uint64(-n))
	}
	return humanize.Bytes(uint64(n))
}

// timestamp is RFC 3339 in JSON, and absent for "never".
func timestamp(unix int64) string {
	if unix == 0 {
		return ""
	}
	return time.Unix(unix, 0).UTC().Format(time.RFC3339)
}

func humanTime(unix int64) string {
	if unix == 0 {
		return "never"
	}
	return time.Unix(unix, 0).Local().Format("2006-01-02 15:04")
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func countMessages(n uint64) string {
	if n == 1 {
		return "1 message"
	}
	return fmt.Sprintf("%d messages", n)
}
