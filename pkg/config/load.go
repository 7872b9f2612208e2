package config

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// EnvPrefix begins the name of every environment variable that is a setting.
const EnvPrefix = "YUBIN_"

// FileFlag names the flag that holds the path of the YAML file.
const FileFlag = "config"

// Load sets every flag of fs from args, then the environment (as of os.Environ), then the YAML
// file named by --config, and leaves the rest at their defaults. It returns pflag.ErrHelp if help
// was asked for, and otherwise all mistakes joined, each on a line of its own.
func Load(fs *pflag.FlagSet, args, environ []string) error {
	fs.Usage = func() {}
	var errs []error
	err := fs.ParseAll(args, func(flag *pflag.Flag, value string) error {
		if err := fs.Set(flag.Name, value); err != nil {
			errs = append(errs, &flagError{flag.Name, "--" + flag.Name, badValue(flag, value, err)})
		}
		return nil
	})
	if errors.Is(err, pflag.ErrHelp) {
		return pflag.ErrHelp
	}
	if err != nil {
		errs = append(errs, describeParseError(fs, err))
	}
	if fs.NArg() > 0 && err == nil {
		errs = append(errs, fmt.Errorf("unexpected argument %q: settings are flags such as --name=value", fs.Arg(0)))
	}
	return errors.Join(append(errs, Resolve(fs, environ))...)
}

// Resolve does what Load does after the command line was parsed: it is for a
// flag set that was parsed elsewhere, as cobra does.
func Resolve(fs *pflag.FlagSet, environ []string) error {
	var errs []error
	set := func(flag *pflag.Flag, source, value string, apply func() error) {
		if err := apply(); err != nil {
			errs = append(errs, &flagError{flag.Name, source, badValue(flag, value, err)})
			return
		}
		flag.Changed = true
	}
	fromEnv, err := envSettings(fs, environ)
	errs = append(errs, err)
	fromLine := changed(fs)
	for _, name := range sortedKeys(fromEnv) {
		if fromLine[name] {
			continue
		}
		flag, value := fs.Lookup(name), fromEnv[name]
		set(flag, "environment "+EnvName(name), value, func() error { return flag.Value.Set(value) })
	}
	file := ""
	if flag := fs.Lookup(FileFlag); flag != nil {
		file = flag.Value.String()
	}
	if file != "" {
		settings, err := readFile(fs, file)
		errs = append(errs, err)
		above := changed(fs)
		for name := range fromEnv {
			above[name] = true // a value that does not parse must not fall through to the file
		}
		for _, s := range settings {
			if !above[s.flag.Name] {
				set(s.flag, fmt.Sprintf("%s:%d: %s", file, s.line, s.flag.Name), s.text(), s.apply)
			}
		}
	}
	return errors.Join(errs...)
}

// EnvName gives the environment variable of a flag.
func EnvName(flag string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// serviceLink matches the variables that Kubernetes makes of a Service called yubin-….
var serviceLink = regexp.MustCompile(`_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$`)

// portLink matches the value of the one service link, YUBIN_X_PORT, whose name does not tell.
var portLink = regexp.MustCompile(`^(tcp|udp|sctp)://`)

func envSettings(fs *pflag.FlagSet, environ []string) (map[string]string, error) {
	byEnv := map[string]string{}
	fs.VisitAll(func(f *pflag.Flag) { byEnv[EnvName(f.Name)] = f.Name })
	settings := map[string]string{}
	var errs []error
	for _, entry := range environ {
		key, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(key, EnvPrefix) {
			continue
		}
		name, known := byEnv[key]
		switch {
		case portLink.MatchString(value) && strings.HasSuffix(key, "_PORT"), !known && serviceLink.MatchString(key):
		case known:
			settings[name] = value
		default:
			errs = append(errs, fmt.Errorf("environment %s: no such setting%s", key, suggest(key, sortedKeys(byEnv))))
		}
	}
	return settings, errors.Join(errs...)
}

// describeParseError says which flag is wrong in the words the other sources use.
func describeParseError(fs *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return fmt.Errorf("--%s: no such flag%s", unknown.GetSpecifiedName(), suggest(unknown.GetSpecifiedName(), names))
}

// badValue says what was written, what is wrong with it, and how to mend it.
func badValue(flag *pflag.Flag, value string, err error) error {
	switch flag.Value.Type() {
	case "duration":
		return fmt.Errorf("%q is not a duration; write for example 30s, 5m or 1h30m", value)
	case "bool":
		return fmt.Errorf("%q is neither true nor false", value)
	case "int", "int32", "int64", "uint", "uint16", "uint32", "uint64":
		return fmt.Errorf("%q is not a whole number in range", value)
	case "float32", "float64":
		return fmt.Errorf("%q is not a number", value)
	}
	if invalid := (*pflag.InvalidValueError)(nil); errors.As(err, &invalid) {
		return invalid.Unwrap()
	}
	return err
}

func changed(fs *pflag.FlagSet) map[string]bool {
	out := map[string]bool{}
	fs.Visit(func(f *pflag.Flag) { out[f.Name] = true })
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			out[f.Name] = true
		}
	})
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// readAll bounds the size of a settings file.
func readAll(path string) ([]byte, error) {
	const limit = 1 << 20
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("read settings: %s has %d bytes, more than %d", path, info.Size(), limit)
	}
	data, err := os.ReadFile(path) // #nosec G304 -- the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return data, nil
}
