// Package harness starts Yubin for tests as users run it: real binaries, in one process or as separate services over mTLS.
package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Root is the repository's root folder.
func Root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("no go.work above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
}

// tags are those of the Makefile.
const tags = "grpcnotrace"

var buildMu sync.Mutex

// Binary builds a service's binary, if it is out of date, and gives its path. With YUBIN_TEST_RACE=1 it has the race detector.
func Binary(tb testing.TB, name string) string {
	tb.Helper()
	buildMu.Lock()
	defer buildMu.Unlock()
	dir := filepath.Join(Root(tb), "bin", "test")
	args := []string{"build", "-trimpath", "-tags", tags, "-o"}
	env := append(os.Environ(), "CGO_ENABLED=0")
	if os.Getenv("YUBIN_TEST_RACE") == "1" {
		dir += "-race"
		args = []string{"build", "-race", "-trimpath", "-tags", tags, "-o"}
		env = append(os.Environ(), "CGO_ENABLED=1")
	}
	if built[name] {
		return filepath.Join(dir, name)
	}
	cmd := exec.CommandContext(tb.Context(), "go", append(args, dir+"/", "./services/"+name)...)
	cmd.Dir, cmd.Env = Root(tb), env
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build %s: %v\n%s", name, err, strings.TrimSpace(string(out)))
	}
	built[name] = true
	return filepath.Join(dir, name)
}

// built are the binaries that this test process has made sure of.
var built = map[string]bool{}
