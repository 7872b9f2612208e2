// Command dashboards writes Yubin's Grafana dashboards, and copies them and the rules of Prometheus to where the chart includes them.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/yubin-mail/yubin/tools/dashboards/boards"
)

func main() {
	root := flag.String("root", ".", "the repository's root folder")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "dashboards:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	files := map[string][]byte{}
	for _, b := range boards.All() {
		text, err := encode(b.Dashboard())
		if err != nil {
			return fmt.Errorf("encode %s: %w", b.UID, err)
		}
		files[b.UID+".json"] = text
	}
	charts := filepath.Join(root, "charts/yubin/files")
	for _, dir := range []string{filepath.Join(root, "deploy/grafana"), filepath.Join(charts, "grafana")} {
		if err := replace(dir, "*.json", files); err != nil {
			return err
		}
	}
	rules, err := read(filepath.Join(root, "deploy/prometheus"), "*.yaml")
	if err != nil {
		return err
	}
	return replace(filepath.Join(charts, "prometheus"), "*.yaml", rules)
}

// encode writes JSON as a person would read it: with < and > as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(v)
	return b.Bytes(), err
}

func read(dir, pattern string) (map[string][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if files[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// replace makes these files, and no others, match the pattern in dir.
func replace(dir, pattern string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // part of the repository
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return err
	}
	for _, path := range old {
		if files[filepath.Base(path)] == nil {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil { //nolint:gosec // part of the repository
			return err
		}
	}
	return nil
}
