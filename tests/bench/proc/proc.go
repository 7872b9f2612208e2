// Package proc measures processes and their descendants as Linux accounts for them: time on the processor, memory, and calls that wait for the disk.
package proc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Tree gives the processes that descend from the roots, with the roots.
func Tree(roots ...int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, name := range stats {
		s, err := readStat(name)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		children[s.parent] = append(children[s.parent], s.pid)
	}
	var all []int
	for next := roots; len(next) > 0; {
		all = append(all, next...)
		var more []int
		for _, pid := range next {
			more = append(more, children[pid]...)
		}
		next = more
	}
	return all, nil
}

// CPU is the time on the processor of the roots and all their descendants, those that have ended included. Linux counts it in ticks of 10 ms.
func CPU(roots ...int) (time.Duration, error) {
	all, err := Tree(roots...)
	if err != nil {
		return 0, err
	}
	total := time.Duration(0)
	for _, pid := range all {
		s, err := readStat(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil && !errors.Is(err, errGone) {
			return 0, err
		}
		total += s.cpu
	}
	return total, nil
}

// Memory is the physical memory of the roots and their descendants in octets; what several share is counted once.
func Memory(roots ...int) (int64, error) {
	all, err := Tree(roots...)
	if err != nil {
		return 0, err
	}
	total := int64(0)
	for _, pid := range all {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if gone(err) {
			continue
		}
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(rollup)) {
			var kib int64
			if _, err := fmt.Sscanf(line, "Pss: %d kB", &kib); err == nil {
				total += kib << 10
			}
		}
	}
	return total, nil
}

// syncCalls are those that wait until the disk has what was written; an open with O_SYNC or O_DSYNC makes every write one, and counts as one.
const syncCalls = "fsync,fdatasync,sync_file_range,syncfs,msync,openat"

// Syncs counts how often the roots and their descendants wait for the disk while fn runs, by means of strace, which slows them down.
func Syncs(ctx context.Context, fn func() error, roots ...int) (int, error) {
	all, err := Tree(roots...)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "syncs")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	output := filepath.Join(dir, "strace")
	args := []string{"-f", "-qq", "-e", "trace=" + syncCalls, "-e", "signal=none", "-o", output}
	for _, pid := range all {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	tracer := exec.CommandContext(ctx, "strace", args...)
	var said bytes.Buffer
	tracer.Stderr = &said
	if err := tracer.Start(); err != nil {
		return 0, fmt.Errorf("start strace: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- tracer.Wait() }()
	failed := awaitTraced(ctx, all, ended)
	if failed == nil {
		failed = fn()
	}
	_ = tracer.Process.Signal(os.Interrupt) // it lets go of the processes
	<-ended
	if failed != nil {
		return 0, fmt.Errorf("trace: %w %s", failed, bytes.TrimSpace(said.Bytes()))
	}
	return countSyncs(output)
}

func awaitTraced(ctx context.Context, pids []int, ended <-chan error) error {
	for _, pid := range pids {
		for {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if gone(err) || err == nil && !strings.Contains(string(status), "TracerPid:\t0\n") {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case err := <-ended:
				return fmt.Errorf("strace ended: %w", err)
			case <-time.After(time.Millisecond):
			}
		}
	}
	return nil
}

func countSyncs(output string) (int, error) {
	f, err := os.Open(output)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n := 0
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if strings.Contains(line, " resumed>") {
			continue // its beginning has been counted
		}
		_, call, _ := strings.Cut(line, " ")
		call = strings.TrimSpace(call)
		if name, arguments, ok := strings.Cut(call, "("); ok && (name != "openat" || strings.Contains(arguments, "SYNC")) {
			n++
		}
	}
	return n, lines.Err()
}

// errGone says that a process has ended.
var errGone = errors.New("the process has ended")

func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

type stat struct {
	pid, parent int
	cpu         time.Duration
}

// readStat reads /proc/<pid>/stat, proc(5). Its second field may hold spaces and brackets.
func readStat(name string) (stat, error) {
	text, err := os.ReadFile(name)
	if gone(err) {
		return stat{}, errGone
	}
	if err != nil {
		return stat{}, err
	}
	const parent, userTime, children = 1, 11, 15 // after the name; utime, stime, cutime, cstime
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) <= children {
		return stat{}, fmt.Errorf("read %s: %d fields", name, len(fields))
	}
	var s stat
	if s.pid, err = strconv.Atoi(filepath.Base(filepath.Dir(name))); err != nil {
		return stat{}, err
	}
	if s.parent, err = strconv.Atoi(fields[parent]); err != nil {
		return stat{}, err
	}
	for _, ticks := range fields[userTime:children] {
		n, err := strconv.ParseInt(ticks, 10, 64)
		if err != nil {
			return stat{}, err
		}
		s.cpu += time.Duration(n) * 10 * time.Millisecond
	}
	return s, nil
}
