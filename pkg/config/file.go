package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// setting is one value of the file.
type setting struct {
	flag   *pflag.Flag
	line   int
	values []string
	list   bool
}

func (s setting) text() string { return strings.Join(s.values, ",") }

func (s setting) apply() error {
	if slice, ok := s.flag.Value.(pflag.SliceValue); ok && s.list {
		return slice.Replace(s.values)
	}
	if s.list {
		return errors.New("takes one value, not a list")
	}
	return s.flag.Value.Set(s.text())
}

// readFile gives the settings of a YAML file in its order.
func readFile(fs *pflag.FlagSet, path string) ([]setting, error) {
	data, err := readAll(path)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	r := fileReader{fs: fs, path: path, seen: map[string]int{}}
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name != FileFlag {
			r.names = append(r.names, f.Name)
		}
	})
	r.mapping(doc.Content[0], "")
	return r.settings, errors.Join(r.errs...)
}

type fileReader struct {
	fs       *pflag.FlagSet
	path     string
	names    []string
	settings []setting
	seen     map[string]int
	errs     []error
}

func (r *fileReader) fail(line int, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s:%d: %w", r.path, line, fmt.Errorf(format, args...)))
}

func (r *fileReader) mapping(node *yaml.Node, prefix string) {
	if node.Kind != yaml.MappingNode {
		r.fail(node.Line, "expected settings such as \"name: value\"")
		return
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := key.Value
		if prefix != "" {
			name = prefix + "-" + name
		}
		flag := r.fs.Lookup(name)
		switch {
		case flag != nil && name != FileFlag && value.Kind != yaml.MappingNode:
			r.value(flag, key.Line, value)
		case flag == nil && value.Kind == yaml.MappingNode && r.hasPrefix(name):
			r.mapping(value, name)
		case flag != nil && value.Kind == yaml.MappingNode && r.hasPrefix(name):
			r.mapping(value, name)
		case flag != nil && name != FileFlag:
			r.fail(key.Line, "%s takes one value, not a mapping", name)
		default:
			r.fail(key.Line, "%s: no such setting%s", name, suggest(name, r.names))
		}
	}
}

func (r *fileReader) hasPrefix(name string) bool {
	for _, n := range r.names {
		if strings.HasPrefix(n, name+"-") {
			return true
		}
	}
	return false
}

func (r *fileReader) value(flag *pflag.Flag, line int, node *yaml.Node) {
	if first, dup := r.seen[flag.Name]; dup {
		r.fail(line, "%s is set already in line %d", flag.Name, first)
		return
	}
	r.seen[flag.Name] = line
	s := setting{flag: flag, line: line}
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null":
		r.fail(line, "%s has no value; remove it or write \"\"", flag.Name)
		return
	case node.Kind == yaml.ScalarNode:
		s.values = []string{node.Value}
	case node.Kind == yaml.SequenceNode:
		s.list = true
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode {
				r.fail(item.Line, "%s: a list holds plain values only", flag.Name)
				return
			}
			s.values = append(s.values, item.Value)
		}
	default:
		r.fail(line, "%s: aliases are not supported", flag.Name)
		return
	}
	r.settings = append(r.settings, s)
}
