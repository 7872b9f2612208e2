package proc

import (
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// shell starts a shell that waits for a line on its standard input before it goes on with a script.
func shell(t *testing.T, script string) (pid int, goOn func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "read line; "+script+"; read line")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid, func() {
		t.Helper()
		_, err := stdin.Write([]byte("\n"))
		require.NoError(t, err)
		_, err = out.Read(make([]byte, 100)) // the script's last word
		require.NoError(t, err)
	}
}

func TestTimeOfChildrenThatHaveEndedIsCounted(t *testing.T) {
	pid, goOn := shell(t, `sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; echo done`)
	before, err := CPU(pid)
	require.NoError(t, err)
	goOn()
	after, err := CPU(pid)
	require.NoError(t, err)
	require.Greater(t, after-before, 20*time.Millisecond)
}

func TestSyncsOfChildrenAreCounted(t *testing.T) {
	file := t.TempDir() + "/file"
	pid, goOn := shell(t, `for i in 1 2 3; do dd if=/dev/zero of=`+file+` bs=10 count=1 conv=fsync 2>/dev/null; done; echo done`)
	n, err := Syncs(t.Context(), func() error { goOn(); return nil }, pid)
	require.NoError(t, err)
	require.Equal(t, 3, n)
}

func TestDescendantsAreInTheTree(t *testing.T) {
	pid, _ := shell(t, "echo done")
	all, err := Tree(os.Getpid())
	require.NoError(t, err)
	require.Contains(t, all, pid)
	memory, err := Memory(pid)
	require.NoError(t, err)
	require.Positive(t, memory, "memory of "+strconv.Itoa(pid))
}
