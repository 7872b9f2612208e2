package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// ownMounts marks the copy of this test that may mount file systems.
const ownMounts = "YUBIN_TEST_OWN_MOUNTS"

// withOwnMounts runs the calling test again in a mount namespace of its own, where it may mount without harm and without root, and says
// whether this is that run.
func withOwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownMounts) != "" {
		return true
	}
	user := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var reasons []string
	for _, attr := range []*syscall.SysProcAttr{user, {Cloneflags: syscall.CLONE_NEWNS}} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m") // this test itself
		cmd.Env = append(os.Environ(), ownMounts+"=1")
		cmd.SysProcAttr = attr
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Logf("%s", out)
			return false
		}
		if len(out) > 0 && !strings.Contains(string(out), mountRefused) {
			t.Fatalf("%v\n%s", err, out)
		}
		reasons = append(reasons, fmt.Sprintf("%v %s", err, out))
	}
	t.Fatalf("this test needs a small file system: let it run as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, "+
		"kernel.apparmor_restrict_unprivileged_userns=0)\n%s", strings.Join(reasons, "\n"))
	return false
}

const mountRefused = "mount is refused"

// mountSmall mounts a file system with so many octets.
func mountSmall(t *testing.T, dir string, size int) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o700))
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatalf("%s: %v", mountRefused, err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size)); err != nil {
		t.Fatalf("%s: %v", mountRefused, err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
}

// incompressible text of about n octets, as packs are compressed.
func incompressible(n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%016x%016x%016x%016x\n", rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64()) // no secret
	}
	return b.String()
}

// fillDisk delivers until the disk has no room but minFree, checks what clients see then, makes room and goes on.
func fillDisk(t *testing.T, shape harness.Shape, data, minFree string) {
	t.Helper()
	dir := t.TempDir()
	disk := filepath.Join(dir, data)
	mountSmall(t, disk, 24<<20)
	ballast := filepath.Join(disk, "ballast")
	require.NoError(t, os.WriteFile(ballast, make([]byte, 8<<20), 0o600))
	s := harness.Start(t, harness.Options{Shape: shape, Dir: dir, Accounts: []string{"alice"}, Args: append(settings[:len(settings):len(settings)], "--storage-min-free", minFree)})
	c := s.IMAPClient(t, 0, "alice", nil)

	var kept []string
	for _, size := range []int{2 << 20, 300 << 10, 1 << 10} {
		for {
			message := string(harness.Compose("Fill", incompressible(size)))
			err := s.Send("sender@elsewhere.example", []string{harness.Address("alice")}, []byte(message))
			if err == nil {
				kept = append(kept, message)
				require.Less(t, len(kept), 20_000, "the disk has an end")
				continue
			}
			code, enhanced := harness.SMTPCode(err)
			require.Contains(t, []int{451, 452}, code, "%v", err)
			require.Equal(t, "4.3.", enhanced[:4], "%v", err)
			break
		}
	}
	require.NotEmpty(t, kept)
	t.Logf("%d messages until the disk was full", len(kept))
	require.ErrorContains(t, appendMessage(c, "INBOX", harness.Compose("Append", incompressible(2<<20))), "NO [", "IMAP says no")

	whole := func(bodies [][]byte) {
		t.Helper()
		require.GreaterOrEqual(t, len(bodies), len(kept))
		for i, message := range kept {
			require.Equal(t, message, string(harness.AfterTrace(t, bodies[i])), "message %d is as it came", i+1)
		}
		require.Len(t, bodies, len(kept), "what was refused is not there")
	}
	whole(harness.Bodies(t, c, "INBOX"))
	if pop, err := s.DialPOP3(t, "alice"); err != nil && minFree == "0" { // to hold the maildrop needs a little room
		require.ErrorContains(t, err, "[SYS/TEMP]")
	} else {
		require.NoError(t, err)
		require.Equal(t, len(kept), pop.Count())
		require.Equal(t, kept[0], string(harness.AfterTrace(t, pop.Multi("RETR 1"))), "POP3 reads on")
		pop.Do("QUIT")
	}

	if minFree != "0" {
		_, err := c.Select("INBOX", nil).Wait()
		require.NoError(t, err)
		require.NoError(t, c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
		require.NoError(t, c.Expunge().Close(), "deleting works on a full disk")
		kept = kept[1:]
		whole(harness.Bodies(t, c, "INBOX"))
	}

	require.NoError(t, os.Remove(ballast))
	message := string(harness.Compose("Room again", incompressible(300<<10)))
	deliversAgain(t, s, "alice", []byte(message))
	kept = append(kept, message)
	whole(harness.Bodies(t, c, "INBOX"))
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	require.NoError(t, c.Store(imap.SeqSetNum(1), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
	require.NoError(t, c.Expunge().Close())
	kept = kept[1:]
	s.Stop(t)
	s.Restart(t)
	whole(harness.Bodies(t, s.IMAPClient(t, 0, "alice", nil), "INBOX"))
	s.NoDrift(t)
}

func TestDiskWithoutAnyRoom(t *testing.T) {
	if withOwnMounts(t) {
		fillDisk(t, harness.AllInOne, "data", "0")
	}
}

func TestDiskThatIsNearlyFull(t *testing.T) {
	if withOwnMounts(t) {
		fillDisk(t, harness.Split, "storage", "4MB")
	}
}
