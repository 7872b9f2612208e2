// Package postgres starts a real PostgreSQL server for tests: one a process, in a directory of its own, which goes when the process
// ends, however it ends.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startTimeout is generous: test machines are slow, and a server that was killed recovers first.
const startTimeout = 2 * time.Minute

// role owns the databases; it is no superuser, as in production.
const role, password = "yubin", "yubin-test"

// Server is a running server.
type Server struct {
	bin, dir string
	port     int
	user     *syscall.Credential // nil: this process's own
	admin    string              // URL of the superuser

	watched io.Closer // its end tells the watcher that this process has ended

	mu   sync.Mutex // guards proc
	proc *exec.Cmd
}

var (
	once    sync.Once
	shared  *Server
	failure error
	number  atomic.Int64
)

// Start gives the test process's server, with its durable defaults (fsync on). The first call starts it.
func Start(tb testing.TB) *Server {
	tb.Helper()
	once.Do(func() { shared, failure = start() })
	if failure != nil {
		tb.Fatalf("start PostgreSQL: %v", failure)
	}
	return shared
}

// Database makes an empty database and gives its URL. It is dropped when the test ends.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("test_%d", number.Add(1))
	if err := s.run("CREATE DATABASE " + name + " OWNER " + role); err != nil {
		tb.Fatalf("create database: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.run("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			tb.Errorf("drop database: %v", err)
		}
	})
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", role, password, s.Address(), name)
}

// Address is host:port of the server.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// PID is the number of the server's first process.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc.Process.Pid
}

// DataDir is where the server keeps everything.
func (s *Server) DataDir() string { return s.data() }

// Kill ends the server and all of its processes with SIGKILL.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.kill(); err != nil {
		tb.Fatalf("kill PostgreSQL: %v", err)
	}
}

// Restart starts the server again after Kill, or kills it before. It returns when the server takes connections.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(s.kill(), s.launch()); err != nil {
		tb.Fatalf("restart PostgreSQL: %v", err)
	}
}

func start() (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin}
	if err := s.pickUser(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "yubin-postgres-"); err != nil {
		return nil, err
	}
	if err := s.init(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	return s, nil
}

// programs finds the folder with initdb: on PATH, or where Debian keeps the newest.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", err
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", errors.New("there is no initdb on PATH or in /usr/lib/postgresql; run tests/setup/install, or install Debian's package postgresql")
	}
	path, err := filepath.EvalSymlinks(found[len(found)-1])
	return filepath.Dir(path), err
}

// pickUser chooses whom to run as: PostgreSQL refuses to be root.
func (s *Server) pickUser() error {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return err
		}
		s.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return nil
	}
	return errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody")
}

// command is a program of PostgreSQL in a session of its own, so that the terminal's signals do not reach it.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(context.Background(), filepath.Join(s.bin, name), args...) //nolint:gosec // G204: a test
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: s.user}
	c.Dir = s.dir
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "HOME=" + s.dir}
	return c
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) init() error {
	if s.user != nil {
		if err := os.Chown(s.dir, int(s.user.Uid), int(s.user.Gid)); err != nil {
			return err
		}
	}
	if err := s.watch(); err != nil {
		return err
	}
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o644); err != nil { //nolint:gosec // G306: another user reads it
		return err
	}
	out, err := s.command("initdb", "-D", s.data(), "-U", "postgres", "-A", "scram-sha-256", "--pwfile", secret,
		"-E", "UTF8", "--no-locale", "--no-instructions").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := s.launch(); err != nil {
		return err
	}
	return s.run("CREATE ROLE " + role + " LOGIN PASSWORD '" + password + "'")
}

// watch starts a shell that waits for the end of this process, and then ends the server and removes its directory.
func (s *Server) watch() error {
	const script = `read -r line
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null && while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
rm -rf "$1"`
	c := exec.CommandContext(context.Background(), "sh", "-c", script, "sh", s.dir) //nolint:gosec // G204: a test
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Dir = "/"
	var err error
	if s.watched, err = c.StdinPipe(); err != nil { // the kernel closes it with the process
		return err
	}
	return c.Start()
}

// launch starts the server on a port that is free; the first time it chooses one.
func (s *Server) launch() error {
	deadline := time.Now().Add(startTimeout)
	chosen := s.port != 0
	for {
		if !chosen {
			s.port = 15000 + rand.IntN(15000) //nolint:gosec // G404: no secret; below the ports that connections go out from
		}
		out, err := s.attempt(deadline)
		switch {
		case err == nil:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%w: %s", err, out)
		case !strings.Contains(out, "Address already in use") && !strings.Contains(out, "still in use"):
			return fmt.Errorf("%w: %s", err, out)
		}
		time.Sleep(50 * time.Millisecond) // before the next try: a port that is taken, a process that is still ending
	}
}

// attempt starts the server and waits until it takes connections. It returns what a server that ended wrote.
func (s *Server) attempt(deadline time.Time) (string, error) {
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return "", err
	}
	defer func() { _ = log.Close() }()
	c := s.command("postgres", "-D", s.data(),
		"-c", "listen_addresses=127.0.0.1", "-c", "port="+strconv.Itoa(s.port), "-c", "unix_socket_directories=",
		"-c", "max_connections=300", "-c", "shared_buffers=128MB", "-c", "max_wal_size=1GB", "-c", "logging_collector=off")
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		return "", err
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait() // the log says why
		close(ended)
	}()
	s.admin = fmt.Sprintf("postgres://postgres:%s@%s/postgres?sslmode=disable&connect_timeout=5", password, s.Address())
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		if err = s.run("SELECT 1"); err == nil {
			s.proc = c
			return "", nil
		}
		select {
		case <-ended:
			out, _ := os.ReadFile(log.Name())
			return string(out), errors.New("the server ended")
		case <-poll.C:
		}
		if time.Now().After(deadline) {
			_ = c.Process.Kill()
			out, _ := os.ReadFile(log.Name())
			return string(out), fmt.Errorf("the server takes no connections: %w", err)
		}
	}
}

// kill ends the server and its children, and waits until they are gone.
func (s *Server) kill() error {
	if s.proc == nil {
		return nil
	}
	pids := append(children(s.proc.Process.Pid), s.proc.Process.Pid)
	for _, pid := range slices.Backward(pids) { // the parent first, that it does not start others
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	s.proc = nil
	for _, pid := range pids {
		for running(pid) {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// running tells whether a process is there and not merely waiting for its parent to notice that it has ended.
func running(pid int) bool {
	stat := status(pid)
	return len(stat) > 0 && stat[0] != "Z"
}

// status gives what Linux tells of a process, from its state on; nothing if there is none.
func status(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
}

// children lists the processes whose parent is pid.
func children(pid int) (out []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if stat := status(child); len(stat) > 1 && stat[1] == strconv.Itoa(pid) {
			out = append(out, child)
		}
	}
	return out
}

// run runs a statement as the superuser.
func (s *Server) run(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.admin)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.PgConn().Exec(ctx, statement).ReadAll()
	return err
}
