package apply

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/yubin-mail/yubin/pkg/address"
)

// maxFile bounds a file, in octets: about a hundred thousand accounts.
const maxFile = 32 << 20

// minPassword is the shortest password that the directory takes, in characters.
const minPassword = 8

// File is what a system should have. What it does not name is left alone, and so is a setting that it does not give.
type File struct {
	// Limit is the default of all accounts.
	Limit    *Limit    `yaml:"limit"`
	Domains  []Domain  `yaml:"domains"`
	Accounts []Account `yaml:"accounts"`
	Aliases  []Alias   `yaml:"aliases"`

	root yaml.Node
}

// Limit of what may be stored, in the notation of ParseLimit.
type Limit struct {
	Size     *string `yaml:"size"`
	Messages *string `yaml:"messages"`
}

// Domain with the defaults of its accounts.
type Domain struct {
	Name       string    `yaml:"name"`
	CatchAll   *[]string `yaml:"catch-all"`
	PopDelete  *string   `yaml:"pop-delete"`
	Subaddress *bool     `yaml:"subaddress"`
	Disabled   *bool     `yaml:"disabled"`
	Limit      *Limit    `yaml:"limit"`
}

// Account of a person.
type Account struct {
	Address     string  `yaml:"address"`
	DisplayName *string `yaml:"display-name"`
	// Password is used when the account is created, and never again.
	Password  string  `yaml:"password"`
	PopDelete *string `yaml:"pop-delete"`
	Disabled  *bool   `yaml:"disabled"`
	Limit     *Limit  `yaml:"limit"`
}

// Alias leads to accounts or other aliases.
type Alias struct {
	Address string   `yaml:"address"`
	Targets []string `yaml:"targets"`
}

// Parse reads a file and gives all that is wrong with it at once, each error with its line. Names and addresses are
// normalised.
func Parse(r io.Reader) (*File, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read file: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("the file is larger than %d octets", maxFile)
	}
	f := &File{}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(f); err != nil {
		return nil, yamlError(err)
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("the file has more than one YAML document")
	}
	if err := yaml.Unmarshal(text, &f.root); err != nil {
		return nil, yamlError(err)
	}
	v := &validator{file: f, seen: map[string]int{}}
	v.validate()
	return f, errors.Join(v.errs...)
}

var unknownField = regexp.MustCompile(`field (\S+) not found in type \S+`)

// yamlError puts the decoder's errors in words for those who do not know its types.
func yamlError(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("the file is empty")
	}
	types := (*yaml.TypeError)(nil)
	if !errors.As(err, &types) {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	var errs []error
	for _, text := range types.Errors {
		errs = append(errs, errors.New(unknownField.ReplaceAllString(text, `unknown setting "$1"`)))
	}
	return errors.Join(errs...)
}

// line finds where a value stands: keys are names of a mapping and indexes of a list. What is not there has the line of what
// should hold it.
func (f *File) line(path ...any) int {
	node := &f.root
	if len(node.Content) > 0 {
		node = node.Content[0]
	}
	for _, key := range path {
		if node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		var next *yaml.Node
		switch key := key.(type) {
		case string:
			for i := 0; i+1 < len(node.Content) && node.Kind == yaml.MappingNode; i += 2 {
				if node.Content[i].Value == key {
					next = node.Content[i+1]
				}
			}
		case int:
			if node.Kind == yaml.SequenceNode && key < len(node.Content) {
				next = node.Content[key]
			}
		}
		if next == nil {
			break
		}
		node = next
	}
	return node.Line
}

type validator struct {
	file *File
	errs []error
	seen map[string]int // what was declared, and on which line
}

func (v *validator) wrong(path []any, format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf("line %d: %w", v.file.line(path...), fmt.Errorf(format, args...)))
}

func (v *validator) validate() {
	f := v.file
	v.limit([]any{"limit"}, f.Limit)
	for i := range f.Domains {
		v.domain([]any{"domains", i}, &f.Domains[i])
	}
	for i := range f.Accounts {
		v.account([]any{"accounts", i}, &f.Accounts[i])
	}
	for i := range f.Aliases {
		v.alias([]any{"aliases", i}, &f.Aliases[i])
	}
}

func (v *validator) domain(at []any, d *Domain) {
	name, err := address.ParseDomain(d.Name)
	if err != nil {
		v.wrong(in(at, "name"), "domain %q: %w", d.Name, err)
	} else {
		d.Name = name
		v.once(in(at, "name"), "domain", name)
	}
	if d.CatchAll != nil {
		for i := range *d.CatchAll {
			v.address(in(at, "catch-all", i), "catch-all", &(*d.CatchAll)[i])
		}
	}
	v.popDelete(in(at, "pop-delete"), d.PopDelete)
	v.limit(in(at, "limit"), d.Limit)
}

func (v *validator) account(at []any, a *Account) {
	if v.address(in(at, "address"), "account", &a.Address) {
		v.once(in(at, "address"), "address", a.Address)
	}
	if n := utf8.RuneCountInString(a.Password); a.Password != "" && n < minPassword {
		v.wrong(in(at, "password"), "the password is shorter than %d characters", minPassword)
	}
	v.popDelete(in(at, "pop-delete"), a.PopDelete)
	v.limit(in(at, "limit"), a.Limit)
}

func (v *validator) alias(at []any, a *Alias) {
	if v.address(in(at, "address"), "alias", &a.Address) {
		v.once(in(at, "address"), "address", a.Address)
	}
	if len(a.Targets) == 0 {
		v.wrong(in(at, "targets"), "alias %s: it needs at least one target", a.Address)
	}
	for i := range a.Targets {
		v.address(in(at, "targets", i), "target", &a.Targets[i])
	}
}

// address normalises an address with a domain.
func (v *validator) address(at []any, what string, p *string) bool {
	a, err := address.Parse(*p)
	if err == nil && a.Domain == "" {
		err = errors.New("it has no domain")
	}
	if err != nil {
		v.wrong(at, "%s %q: %w", what, *p, err)
		return false
	}
	*p = a.String()
	return true
}

func (v *validator) popDelete(at []any, p *string) {
	if p == nil {
		return
	}
	if _, ok := ParsePopDelete(*p); !ok {
		v.wrong(at, "%q is none of default, expunge, trash, keep", *p)
	}
}

func (v *validator) limit(at []any, l *Limit) {
	if l == nil {
		return
	}
	for _, value := range []struct {
		key  string
		text *string
	}{{"size", l.Size}, {"messages", l.Messages}} {
		if value.text == nil {
			continue
		}
		if _, err := ParseLimit(*value.text, value.key == "size"); err != nil {
			v.wrong(in(at, value.key), "%w", err)
		}
	}
}

func (v *validator) once(at []any, what, name string) {
	key := what + " " + name
	if line, ok := v.seen[key]; ok {
		v.wrong(at, "%s is there already, on line %d", key, line)
		return
	}
	v.seen[key] = v.file.line(at...)
}

// in gives the path of something inside.
func in(at []any, keys ...any) []any { return append(append([]any{}, at...), keys...) }
