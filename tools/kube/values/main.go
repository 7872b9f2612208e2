// Command values writes what is derived from a chart's values.yaml: values.schema.json, which knows every setting and refuses all
// others, and the table in README.md. With -check it only tells whether they are up to date.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func main() {
	chart := flag.String("chart", "charts/yubin", "the chart's directory")
	check := flag.Bool("check", false, "write nothing, fail if something would be written")
	flag.Parse()
	if err := run(*chart, *check); err != nil {
		fmt.Fprintln(os.Stderr, "values:", err)
		os.Exit(1)
	}
}

func run(chart string, check bool) error {
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		return err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return err
	}
	root := doc.Content[0]
	schema, err := json.MarshalIndent(document(root), "", "  ")
	if err != nil {
		return err
	}
	readme := filepath.Join(chart, "README.md")
	old, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	table, err := between(old, Table(root))
	if err != nil {
		return err
	}
	for file, want := range map[string][]byte{filepath.Join(chart, "values.schema.json"): append(schema, '\n'), readme: table} {
		have, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		switch {
		case bytes.Equal(have, want):
		case check:
			return fmt.Errorf("%s is not what values.yaml makes it: run make generate-chart", file)
		default:
			if err := os.WriteFile(file, want, 0o644); err != nil { // #nosec G306 -- everybody may read it
				return err
			}
		}
	}
	return nil
}

const begin, end = "<!-- values: begin -->\n", "<!-- values: end -->\n"

func between(text []byte, table string) ([]byte, error) {
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, also := strings.Cut(rest, end)
	if !ok || !also {
		return nil, errors.New("README.md lacks the marks of the table")
	}
	return []byte(head + begin + table + end + tail), nil
}

// Table of all values with their comments, in the order of the file.
func Table(root *yaml.Node) string {
	var out strings.Builder
	out.WriteString("| value | default | |\n|---|---|---|\n")
	rows(&out, root, "")
	return out.String()
}

func rows(out *strings.Builder, node *yaml.Node, prefix string) {
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		about := comment(key)
		path := prefix + key.Value
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 && value.Style&yaml.FlowStyle == 0 {
			if about != "" {
				fmt.Fprintf(out, "| **%s** | | %s |\n", path, about)
			}
			rows(out, value, path+".")
			continue
		}
		plain, err := json.Marshal(decoded(value))
		if err != nil {
			panic(err) // what YAML gives, JSON takes
		}
		fmt.Fprintf(out, "| `%s` | `%s` | %s |\n", path, strings.ReplaceAll(string(plain), "|", `\|`), about)
	}
}

func comment(key *yaml.Node) string {
	paragraphs := strings.Split(strings.TrimSpace(key.HeadComment), "\n\n")
	lines := strings.Split(paragraphs[len(paragraphs)-1], "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(strings.TrimPrefix(line, "#"))
	}
	return strings.ReplaceAll(strings.Join(lines, " "), "|", `\|`)
}

func decoded(node *yaml.Node) any {
	var v any
	if err := node.Decode(&v); err != nil {
		panic(err) // the document was parsed
	}
	return v
}

// object is a part of a JSON schema (draft 7).
type object map[string]any

// enums are the values that take one of few words.
var enums = map[string][]string{
	"rpc.certificates":                       {"job", "cert-manager", "existing"},
	"objectStore.s3.addressing":              {"path", "virtual", "auto"},
	"nats.auth":                              {"credentials", "token"},
	"logLevel":                               {"debug", "info", "warn", "error"},
	"image.pullPolicy":                       {"Always", "IfNotPresent", "Never"},
	"defaults.service.type":                  {"ClusterIP", "NodePort", "LoadBalancer"},
	"defaults.service.externalTrafficPolicy": {"Local", "Cluster"},
	"defaults.service.ipFamilyPolicy":        {"", "SingleStack", "PreferDualStack", "RequireDualStack"},
}

// open are objects whose keys are for others to know.
var open = []string{"defaults.resources", "defaults.autoscaling.behavior", "admin.resources", "metrics.dashboards.labels"}

var components = []string{"smtp", "pop3", "imap", "storage", "quota", "directory", "autoconfig"}

func document(root *yaml.Node) object {
	doc := schemaOf(root, "")
	properties := doc["properties"].(object)
	defaults := properties["defaults"].(object)
	defaults["properties"].(object)["proxyProtocol"].(object)["properties"].(object)["service"] = defaults["properties"].(object)["service"]
	for _, name := range components { // each may say anything that the defaults say, and more
		merged := object{}
		for key, value := range defaults["properties"].(object) {
			merged[key] = value
		}
		for key, value := range properties[name].(object)["properties"].(object) {
			if merged[key] == nil { // what it alone has, such as its ports
				merged[key] = value
			}
		}
		properties[name] = object{"type": "object", "additionalProperties": false, "properties": merged}
	}
	properties["global"] = object{"type": "object"} // Helm gives it to charts that are part of another
	doc["$schema"] = "http://json-schema.org/draft-07/schema#"
	return doc
}

func schemaOf(node *yaml.Node, path string) object {
	switch v := decoded(node).(type) {
	case map[string]any:
		if len(v) == 0 || slices.Contains(open, path) {
			return object{"type": "object"}
		}
		properties := object{}
		for i := 0; i < len(node.Content); i += 2 {
			name := node.Content[i].Value
			at := strings.TrimPrefix(path+"."+name, ".")
			property := schemaOf(node.Content[i+1], at)
			if about := comment(node.Content[i]); about != "" {
				property["description"] = about
			}
			properties[name] = property
		}
		return object{"type": "object", "additionalProperties": false, "properties": properties}
	case []any:
		return object{"type": "array"}
	case bool:
		return object{"type": "boolean"}
	case int:
		if strings.HasSuffix(path, "maxUnavailable") {
			return object{"type": []string{"integer", "string"}}
		}
		return object{"type": "integer", "minimum": 0}
	default:
		if words, ok := enums[path]; ok {
			return object{"type": "string", "enum": words}
		}
		return object{"type": "string"}
	}
}
