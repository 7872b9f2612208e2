package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is one running binary.
type Process struct {
	Name string
	// Admin is the address of /readyz and /metrics.
	Admin string

	binary string
	args   []string
	env    []string
	log    *logFile
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// startTimeout is how long a process may take until it is ready.
const startTimeout = 60 * time.Second

func newProcess(tb testing.TB, dir, name, binary string, args ...string) *Process {
	tb.Helper()
	p := &Process{Name: name, Admin: FreeAddr(tb), binary: Binary(tb, binary)}
	p.args = slices.Concat(args, []string{"--admin-listen", p.Admin, "--log-format", "text"})
	p.env = append(environ(), "GORACE=halt_on_error=1 exitcode=66")
	f, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	p.log = &logFile{file: f}
	tb.Cleanup(func() {
		p.Kill()
		if tb.Failed() {
			tb.Logf("last lines of %s:\n%s", name, p.log.Tail())
		}
		_ = f.Close()
	})
	return p
}

// environ is the environment without settings of Yubin, which would change what runs.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "YUBIN_") })
}

// Launch starts the process without waiting for it to be ready.
func (p *Process) Launch(tb testing.TB) {
	tb.Helper()
	cmd := exec.Command(p.binary, p.args...) // not CommandContext: it outlives the test's context, and Cleanup ends it
	cmd.Stdout, cmd.Stderr, cmd.Env = p.log, p.log, p.env
	if err := cmd.Start(); err != nil {
		tb.Fatalf("start %s: %v", p.Name, err)
	}
	exited := make(chan struct{})
	p.cmd, p.exited = cmd, exited
	go func() {
		p.err = cmd.Wait()
		close(exited)
	}()
}

// WaitReady waits until the process says that it is ready.
func (p *Process) WaitReady(tb testing.TB) {
	tb.Helper()
	deadline := time.Now().Add(startTimeout)
	for {
		err := get(tb.Context(), "http://"+p.Admin+"/readyz", io.Discard)
		if err == nil {
			return
		}
		select {
		case <-p.exited:
			tb.Fatalf("%s ended at start: %v\n%s", p.Name, p.err, p.log.Tail())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s is not ready after %v: %v\n%s", p.Name, startTimeout, err, p.log.Tail())
		}
	}
}

// Start starts the process and waits until it is ready.
func (p *Process) Start(tb testing.TB) {
	tb.Helper()
	p.Launch(tb)
	p.WaitReady(tb)
}

// Stop ends the process as an operator does, with SIGTERM, and checks that it ends well.
func (p *Process) Stop(tb testing.TB) {
	tb.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		if p.err != nil {
			tb.Errorf("%s ended with %v\n%s", p.Name, p.err, p.log.Tail())
		}
	case <-time.After(2 * time.Minute):
		p.Kill()
		tb.Errorf("%s did not end within two minutes of SIGTERM\n%s", p.Name, p.log.Tail())
	}
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// PID is the process's number in the operating system.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Freeze halts the process with SIGSTOP: its connections stay, and nothing answers.
func (p *Process) Freeze(tb testing.TB) { p.signal(tb, syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (p *Process) Thaw(tb testing.TB) { p.signal(tb, syscall.SIGCONT) }

func (p *Process) signal(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		tb.Fatalf("signal %s: %v", p.Name, err)
	}
}

// Signal sends a signal to the process, as SIGSTOP to make it hang.
func (p *Process) Signal(tb testing.TB, signal syscall.Signal) {
	tb.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		tb.Fatalf("signal %s: %v", p.Name, err)
	}
}

// Running tells whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Ready tells whether the process says that it is ready; nil is yes.
func (p *Process) Ready(tb testing.TB) error {
	tb.Helper()
	return get(tb.Context(), "http://"+p.Admin+"/readyz", io.Discard)
}

// PeakMemory is the most physical memory that the process has had, in octets.
func (p *Process) PeakMemory(tb testing.TB) int64 {
	tb.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	tb.Fatalf("no VmHWM in the status of %s", p.Name)
	return 0
}

// Metrics gives what /metrics says.
func (p *Process) Metrics(tb testing.TB) string {
	tb.Helper()
	var b bytes.Buffer
	if err := get(tb.Context(), "http://"+p.Admin+"/metrics", &b); err != nil {
		tb.Fatalf("metrics of %s: %v", p.Name, err)
	}
	return b.String()
}

// Collect has the process collect garbage, if it serves profiles (--admin-pprof).
func (p *Process) Collect(tb testing.TB) {
	tb.Helper()
	if err := get(tb.Context(), "http://"+p.Admin+"/debug/pprof/heap?gc=1", io.Discard); err != nil {
		tb.Fatalf("collect garbage of %s: %v", p.Name, err)
	}
}

func get(ctx context.Context, url string, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body := io.MultiWriter(w)
	var text bytes.Buffer
	if res.StatusCode != http.StatusOK {
		body = &text
	}
	if _, err := io.Copy(body, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(text.Bytes()))
	}
	return nil
}

// FreeAddr gives a loopback address that nothing listens on, and gives it only once. Its port is below those that Linux gives to
// connections by itself, so that no client takes it before the server does.
func FreeAddr(tb testing.TB) string {
	tb.Helper()
	const lowest, highest = 10_000, 32_000
	ports.Lock()
	defer ports.Unlock()
	for range highest - lowest {
		if ports.next < lowest || ports.next >= highest {
			ports.next = lowest + rand.IntN(highest-lowest)
		}
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports.next))
		ports.next++
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	tb.Fatal("no port is free")
	return ""
}

// ports remembers which port to try next.
var ports struct {
	sync.Mutex
	next int
}

// logFile keeps the end of a log in memory, for the test's report.
type logFile struct {
	mu   sync.Mutex
	file *os.File
	tail []byte
}

const (
	tailSize  = 256 << 10
	tailLines = 40
)

// routine is in lines that each mail and each login leave: they would hide what went wrong.
var routine = []string{" level=INFO msg=message ", " level=INFO msg=login "}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, p...)
	if over := len(l.tail) - tailSize; over > 0 {
		l.tail = append(l.tail[:0], l.tail[over:]...)
	}
	n, err := l.file.Write(p)
	if errors.Is(err, os.ErrClosed) {
		return len(p), nil
	}
	return n, err
}

// Tail gives the last lines that are not routine.
func (l *logFile) Tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := slices.DeleteFunc(slices.Collect(strings.Lines(string(l.tail))), func(line string) bool {
		return slices.ContainsFunc(routine, func(text string) bool { return strings.Contains(line, text) })
	})
	return strings.Join(lines[max(0, len(lines)-tailLines):], "")
}
