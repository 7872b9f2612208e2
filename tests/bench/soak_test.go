package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/bench/load"
	"github.com/yubin-mail/yubin/tests/bench/proc"
)

// watchMemory loads each of Yubin's systems with everything at once for -duration, and prints how the memory of its processes goes.
func watchMemory(t *testing.T, w io.Writer) {
	if *systems == "" {
		*systems = "embedded|production"
	}
	for _, s := range start(t) {
		s.fill(t, 2000, 40)
		fmt.Fprintf(w, "\n%s under full load for %v; memory in MB:\n", s.name, *soak)
		watch(t, w, s)
	}
}

func watch(t *testing.T, w io.Writer, s *system) {
	const samples = 30
	var all []load.Workload
	for _, workload := range load.Workloads(1000) {
		if !strings.HasSuffix(workload.Name, " × 1") && !strings.HasSuffix(workload.Name, " × 32") {
			all = append(all, workload) // deliveries over 8 connections of each kind
		}
	}
	ctx, stop := context.WithTimeout(t.Context(), *soak+time.Minute)
	defer stop()
	ended := make(chan error, len(all))
	for _, workload := range all {
		go func() {
			_, err := workload.Run(ctx, s.target, load.Limit{For: *soak})
			ended <- err
		}()
	}
	pids := s.sessions()
	memory := make([][]float64, len(pids))
	start := time.Now()
	fmt.Fprintf(w, "%8s", "seconds")
	for _, pid := range pids {
		fmt.Fprintf(w, " %10s", program(pid))
	}
	fmt.Fprintln(w)
	var seconds []float64
	for every := time.NewTicker(max(*soak/samples, time.Second)); time.Since(start) < *soak; {
		select {
		case <-ctx.Done():
			require.NoError(t, ctx.Err())
		case <-every.C:
		}
		seconds = append(seconds, time.Since(start).Seconds())
		fmt.Fprintf(w, "%8.0f", seconds[len(seconds)-1])
		for i, pid := range pids {
			octets, err := proc.Memory(pid)
			require.NoError(t, err)
			memory[i] = append(memory[i], float64(octets)/1e6)
			fmt.Fprintf(w, " %10.1f", float64(octets)/1e6)
		}
		fmt.Fprintln(w)
	}
	var failed error
	for range all {
		failed = errors.Join(failed, <-ended)
	}
	require.NoError(t, failed)
	half := len(seconds) / 2
	fmt.Fprintf(w, "%8s", "slope")
	for i := range pids {
		fmt.Fprintf(w, " %10.2f", 60*slope(seconds[half:], memory[i][half:]))
	}
	fmt.Fprintln(w, " MB a minute in the second half")
}

func program(pid int) string {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(name))
}

// slope is that of the line that fits best (least squares).
func slope(x, y []float64) float64 {
	var meanX, meanY, above, below float64
	for i := range x {
		meanX, meanY = meanX+x[i]/float64(len(x)), meanY+y[i]/float64(len(y))
	}
	for i := range x {
		above += (x[i] - meanX) * (y[i] - meanY)
		below += (x[i] - meanX) * (x[i] - meanX)
	}
	return above / below
}
