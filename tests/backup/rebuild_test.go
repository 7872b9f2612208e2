package backup

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// report is what `yubin storage rebuild --json` prints.
type report struct {
	Accounts []struct {
		AccountID string    `json:"account_id"`
		Address   string    `json:"address"`
		Snapshot  time.Time `json:"snapshot"`
		Messages  int       `json:"messages"`
	} `json:"accounts"`
	Resumed   bool             `json:"resumed"`
	Delivered int              `json:"delivered_since"`
	Lost      []map[string]any `json:"lost"`
	Damaged   []map[string]any `json:"damaged"`
}

func parseReport(t *testing.T, text string) (r report) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(text), &r))
	return r
}

// waitForCatalog waits until the catalog in the object store has seen what is there now.
func waitForCatalog(t *testing.T, s *harness.System) {
	t.Helper()
	written := func() (n int) {
		for _, p := range s.Processes {
			for line := range strings.Lines(p.Metrics(t)) {
				var v float64
				if _, err := fmt.Sscanf(line, "yubin_storage_catalog_rounds_total %g", &v); err == nil {
					n += int(v)
				}
			}
		}
		return n
	}
	// The round that runs now may have passed the account already: the one after it has not.
	for before, deadline := written(), time.Now().Add(time.Minute); written() < before+2; time.Sleep(50 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "the catalog is not written")
	}
}

// loseAllDatabases removes what only the databases of a data directory know.
func loseAllDatabases(t *testing.T, data string) {
	t.Helper()
	for _, service := range []string{"directory", "quota"} {
		require.NoError(t, os.RemoveAll(filepath.Join(data, service)))
	}
	files, err := filepath.Glob(filepath.Join(data, "storage", "storage.db*"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		require.NoError(t, os.Remove(f))
	}
}

func TestEverythingButTheBodiesIsLost(t *testing.T) {
	s := harness.Start(t, harness.Options{Accounts: []string{"alice", "bob"}, Args: []string{"--storage-catalog-interval", "1s"}})
	furnish(t, s, "alice")
	furnish(t, s, "bob")
	waitForCatalog(t, s)
	alice, bob := mailboxes(t, s, "alice"), mailboxes(t, s, "bob")
	s.Stop(t)
	loseAllDatabases(t, data(s.Dir))

	dry := parseReport(t, mustOffline(t, "storage", "rebuild", "--data-dir", data(s.Dir), "--dry-run", "--json"))
	require.Len(t, dry.Accounts, 2)
	killRebuild(t, data(s.Dir))
	r := parseReport(t, mustOffline(t, "storage", "rebuild", "--data-dir", data(s.Dir), "--json"))
	require.Len(t, r.Accounts, 2)
	require.Empty(t, r.Lost)
	require.Empty(t, r.Damaged)
	_, stderr, err := offline(t, "storage", "rebuild", "--data-dir", data(s.Dir))
	require.Error(t, err)
	require.Contains(t, stderr, "not empty")

	s.Restart(t)
	s.CLI(t, "domain", "add", harness.Domain)
	for _, a := range r.Accounts {
		require.False(t, a.Snapshot.IsZero())
		s.CLIInput(t, harness.Password+"\n", "account", "add", a.Address, "--id", a.AccountID, "--password-stdin")
	}
	requireSame(t, alice, mailboxes(t, s, "alice"))
	requireSame(t, bob, mailboxes(t, s, "bob"))
	requireSound(t, s)
	s.Deliver(t, "alice", harness.Compose("After", "the disaster"))
	require.Len(t, mailboxes(t, s, "alice")["INBOX"].messages, len(alice["INBOX"].messages)+1)
}

// killRebuild begins a rebuild and kills it, at whatever point it is.
func killRebuild(t *testing.T, data string) {
	t.Helper()
	for _, after := range []time.Duration{20 * time.Millisecond, 60 * time.Millisecond, 100 * time.Millisecond} {
		cmd := exec.CommandContext(t.Context(), harness.Binary(t, "yubin"), "storage", "rebuild", "--data-dir", data)
		require.NoError(t, cmd.Start())
		done := make(chan struct{})
		go func() {
			_ = cmd.Wait() // killed
			close(done)
		}()
		select {
		case <-done: // faster than the kill
			files, err := filepath.Glob(filepath.Join(data, "storage", "storage.db*"))
			require.NoError(t, err)
			for _, f := range files {
				require.NoError(t, os.Remove(f))
			}
		case <-time.After(after):
			require.NoError(t, cmd.Process.Signal(syscall.SIGKILL))
			<-done
		}
	}
}
