// Package process runs other people's servers for tests, which may kill them and start them again.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout is how long a server may take until it answers, on a machine that is busy with other tests.
const startTimeout = 2 * time.Minute

// Command tells how to run a server.
type Command struct {
	Name string
	// Args begin with the program. They are asked for with each address that is tried.
	Args func(addr string) []string
	// Env is added to the environment.
	Env []string
	// Ready tells whether it is this server that answers at addr.
	Ready func(ctx context.Context, addr string) bool
}

// Server is a running server on 127.0.0.1. Its address stays the same when it starts again.
type Server struct {
	Addr string

	command Command
	log     tail

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
}

// Start starts a server of the test's own, which ends with it.
func Start(tb testing.TB, command Command) *Server {
	tb.Helper()
	s := &Server{command: command}
	tb.Cleanup(func() {
		s.Kill()
		if tb.Failed() {
			tb.Logf("%s said:\n%s", command.Name, s.log.text())
		}
	})
	// Another process may take the port between the look and the start.
	var err error
	for range 10 {
		s.Addr = freeAddr(tb)
		if err = s.launch(tb.Context()); err == nil {
			return s
		}
		s.Kill()
		if !errors.Is(err, errEnded) {
			break
		}
	}
	tb.Fatalf("start %s: %v\n%s", command.Name, err, s.log.text())
	return nil
}

// errEnded says that a server ended instead of answering.
var errEnded = errors.New("it ended at once")

// launch starts the process and waits until it answers.
func (s *Server) launch(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	args := s.command.Args(s.Addr)
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // named by tests; outlives the context of the test, whose cleanup ends it
	cmd.Env = slices.Concat(os.Environ(), s.command.Env)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.cmd, s.exited = cmd, exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	return s.await(ctx)
}

func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		once, done := context.WithTimeout(ctx, 5*time.Second)
		ready := s.command.Ready(once, s.Addr)
		done()
		select {
		case <-s.exited: // and another's server is at its address
			return errEnded
		default:
		}
		if ready {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await its answer: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

// PID is the number of the server's process.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process.Pid
}

// Kill ends the server with SIGKILL, and waits until it is gone.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// Signal sends a signal, as SIGSTOP to make the server hang.
func (s *Server) Signal(signal syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return os.ErrProcessDone
	}
	return s.cmd.Process.Signal(signal)
}

// Restart kills the server if it runs, starts it at its address, and waits until it answers.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Kill()
	if err := s.launch(tb.Context()); err != nil {
		tb.Fatalf("start %s again: %v\n%s", s.command.Name, err, s.log.text())
	}
}

// tail keeps the last octets that are written.
type tail struct {
	mu   sync.Mutex
	last bytes.Buffer
}

const tailSize = 16 << 10

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last.Write(p)
	if over := t.last.Len() - tailSize; over > 0 {
		t.last.Next(over)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last.String()
}

var _ io.Writer = (*tail)(nil)

// freeAddr gives an address that nothing listens on, with a port below those that Linux gives to connections by itself.
func freeAddr(tb testing.TB) string {
	tb.Helper()
	for range 1000 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(10_000+rand.IntN(22_000))) //nolint:gosec // not a secret
		var c net.ListenConfig
		if l, err := c.Listen(tb.Context(), "tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	tb.Fatal("no port is free")
	return ""
}
