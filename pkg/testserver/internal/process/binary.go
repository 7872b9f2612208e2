package process

import (
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Find gives the path of a program: the one on PATH, or one that is built once for this user from a Go package at a version, as
// "example.com/module/cmd/program@v1.2.3".
func Find(tb testing.TB, program, source string) string {
	tb.Helper()
	if file, err := exec.LookPath(program); err == nil {
		return file
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Fatalf("no %s on PATH, and no place to build one: %v", program, err)
	}
	_, version, _ := strings.Cut(path.Base(source), "@")
	dir := filepath.Join(cache, "yubin-test", program+"-"+version)
	file := filepath.Join(dir, program)
	if _, err := os.Stat(file); err == nil {
		return file
	}
	if err := build(tb, dir, program, source); err != nil {
		tb.Fatalf("no %s on PATH, and it cannot be built from %s: %v", program, source, err)
	}
	return file
}

// build makes the program in dir; of several processes one does it.
func build(tb testing.TB, dir, program, source string) error {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	file := filepath.Join(dir, program)
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	tb.Logf("building %s, which takes some minutes the first time", source)
	fresh := filepath.Join(dir, "new")                                // in the same file system, so that it appears whole
	cmd := exec.CommandContext(tb.Context(), "go", "install", source) //nolint:gosec // named by tests
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOBIN="+fresh, "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(string(out)))
	}
	return os.Rename(filepath.Join(fresh, program), file)
}
