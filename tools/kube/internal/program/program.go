// Package program knows the settings of the services, by asking them.
package program

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Root is the repository's, as seen from a package of this module.
const Root = "../../.."

var flagName = regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([a-z0-9-]+)`)

var (
	mu    sync.Mutex
	known = map[string]map[string]bool{}
)

// Flags are those of a service, without dashes.
func Flags(t *testing.T, service string) map[string]bool {
	t.Helper()
	return ask(t, service, "--help")
}

// CommandFlags are those of a command of the tool yubin.
func CommandFlags(t *testing.T, command string) map[string]bool {
	t.Helper()
	return ask(t, "yubin", command, "--help")
}

func ask(t *testing.T, service string, args ...string) map[string]bool {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	key := service + " " + strings.Join(args, " ")
	if known[key] != nil {
		return known[key]
	}
	root, err := filepath.Abs(Root)
	if err != nil {
		t.Fatal(err)
	}
	// go build does nothing if the binary is up to date.
	binary := filepath.Join(root, "bin", "test", service)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "./services/"+service) // #nosec G204 -- a service of ours
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", service, err, out)
	}
	help, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput() // #nosec G204 -- a service of ours
	if err != nil {
		t.Fatalf("%s: %v\n%s", key, err, help)
	}
	names := map[string]bool{}
	for _, match := range flagName.FindAllStringSubmatch(string(help), -1) {
		names[match[1]] = true
	}
	if len(names) < 3 {
		t.Fatalf("%s lists %d flags", key, len(names))
	}
	known[key] = names
	return names
}

// Unknown are the flags and variables of a command line and an environment that a service does not have.
func Unknown(flags map[string]bool, args, variables []string) (unknown []string) {
	for _, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		if flag, ok := strings.CutPrefix(name, "--"); ok && !flags[flag] {
			unknown = append(unknown, arg)
		}
	}
	for _, variable := range variables {
		name, ours := strings.CutPrefix(variable, "YUBIN_")
		if ours && !flags[strings.ToLower(strings.ReplaceAll(name, "_", "-"))] {
			unknown = append(unknown, variable)
		}
	}
	return unknown
}
