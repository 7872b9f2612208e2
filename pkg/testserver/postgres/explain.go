package postgres

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Plan is what a statement did: the plan it was run by, with what it has read.
type Plan struct {
	Query string `json:"Query Text"`
	Root  Node   `json:"Plan"`
}

// Node of a plan, as EXPLAIN (ANALYZE, BUFFERS) shows it. Blocks include those of the nodes below.
type Node struct {
	Type       string  `json:"Node Type"`
	Relation   string  `json:"Relation Name"`
	Index      string  `json:"Index Name"`
	Rows       float64 `json:"Actual Rows"` // of one loop
	Loops      float64 `json:"Actual Loops"`
	Removed    float64 `json:"Rows Removed by Filter"`
	HitBlocks  int     `json:"Shared Hit Blocks"`
	ReadBlocks int     `json:"Shared Read Blocks"`
	Below      []Node  `json:"Plans"`
}

// Blocks are the pages that the statement has looked at.
func (p Plan) Blocks() int { return p.Root.HitBlocks + p.Root.ReadBlocks }

// Walk calls fn for every node.
func (p Plan) Walk(fn func(Node)) { p.Root.walk(fn) }

func (n Node) walk(fn func(Node)) {
	fn(n)
	for _, below := range n.Below {
		below.walk(fn)
	}
}

// Explain makes the server note the plan of every statement of connections to a database that are made from now on. The function gives the
// plans since it was last called, in the order in which the statements ended.
func (s *Server) Explain(tb testing.TB, url string) func() []Plan {
	tb.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		tb.Fatal(err)
	}
	for _, setting := range []string{
		"session_preload_libraries = 'auto_explain'", "auto_explain.log_min_duration = 0", "auto_explain.log_analyze = on",
		"auto_explain.log_buffers = on", "auto_explain.log_timing = off", "auto_explain.log_format = 'json'",
	} {
		if err := s.run("ALTER DATABASE " + cfg.Database + " SET " + setting); err != nil {
			tb.Fatalf("let PostgreSQL explain: %v", err)
		}
	}
	var offset int64
	read := func() ([]Plan, error) {
		log, err := os.Open(filepath.Join(s.dir, "log"))
		if err != nil {
			return nil, err
		}
		defer func() { _ = log.Close() }()
		if _, err := log.Seek(offset, io.SeekStart); err != nil {
			return nil, err
		}
		data, err := io.ReadAll(log)
		if err != nil {
			return nil, err
		}
		offset += int64(len(data))
		return parsePlans(data)
	}
	return func() []Plan {
		tb.Helper()
		plans, err := read()
		if err != nil {
			tb.Fatalf("read plans: %v", err)
		}
		return plans
	}
}

// parsePlans finds the plans in a log: all but the first line of an entry are indented by a tab.
func parsePlans(log []byte) ([]Plan, error) {
	var plans []Plan
	var text strings.Builder
	end := func() error {
		if text.Len() == 0 {
			return nil
		}
		var p Plan
		if err := json.Unmarshal([]byte(text.String()), &p); err != nil {
			return fmt.Errorf("%w: %s", err, text.String())
		}
		text.Reset()
		plans = append(plans, p)
		return nil
	}
	inside := false
	lines := bufio.NewScanner(bytes.NewReader(log))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		line := lines.Text()
		if inside && strings.HasPrefix(line, "\t") {
			text.WriteString(line + "\n")
			continue
		}
		if err := end(); err != nil {
			return nil, err
		}
		inside = strings.HasSuffix(line, "  plan:")
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	return plans, end()
}
