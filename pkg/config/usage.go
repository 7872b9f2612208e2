package config

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// PrintUsage writes the reference of all settings, grouped by the first word of their names.
func PrintUsage(w io.Writer, name string, fs *pflag.FlagSet) {
	groups := map[string]*pflag.FlagSet{}
	count := map[string]int{}
	fs.VisitAll(func(f *pflag.Flag) { count[prefixOf(f.Name)]++ })
	fs.VisitAll(func(f *pflag.Flag) {
		group := prefixOf(f.Name)
		if count[group] == 1 {
			group = ""
		}
		if groups[group] == nil {
			groups[group] = pflag.NewFlagSet(group, pflag.ContinueOnError)
		}
		groups[group].AddFlag(f)
	})
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s [flags]\n\n", name)
	fmt.Fprintf(&b, "Each flag is also an environment variable (--smtp-listen is %s) and a key of the YAML\n", EnvName("smtp-listen"))
	b.WriteString("file named by --config (smtp-listen, or listen under smtp). The command line comes first, then the\nenvironment, then the file.\n")
	names := sortedKeys(groups)
	slices.SortStableFunc(names, strings.Compare)
	for _, group := range names {
		title := "General"
		if group != "" {
			title = strings.ToUpper(group[:1]) + group[1:]
		}
		fmt.Fprintf(&b, "\n%s:\n%s", title, groups[group].FlagUsagesWrapped(110))
	}
	_, _ = io.WriteString(w, b.String())
}

func prefixOf(flag string) string {
	prefix, _, _ := strings.Cut(flag, "-")
	return prefix
}
