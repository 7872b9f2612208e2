// Package backup tests what an operator does on a bad day: copies are put back, of one moment and of different ones, and mailboxes come back
// from the object store alone.
package backup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// mailbox is what a mail program sees of one.
type mailbox struct {
	uidValidity uint32
	uidNext     imap.UID
	messages    map[imap.UID]string // flags and octets
}

// mailboxes gives all that a mail program sees of an account.
func mailboxes(t *testing.T, s *harness.System, name string) map[string]mailbox {
	t.Helper()
	c := s.IMAPClient(t, 0, name, nil)
	list, err := c.List("", "*", nil).Collect()
	require.NoError(t, err)
	out := map[string]mailbox{}
	for _, m := range list {
		out[m.Mailbox] = look(t, c, m.Mailbox)
	}
	return out
}

func look(t *testing.T, c *imapclient.Client, name string) mailbox {
	t.Helper()
	selected, err := c.Select(name, nil).Wait()
	require.NoError(t, err)
	m := mailbox{selected.UIDValidity, selected.UIDNext, map[imap.UID]string{}}
	if selected.NumMessages == 0 {
		return m
	}
	whole := &imap.FetchItemBodySection{Peek: true}
	messages, err := c.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	require.NoError(t, err)
	for _, msg := range messages {
		flags := slices.Sorted(slices.Values(msg.Flags))
		m.messages[msg.UID] = fmt.Sprintf("%v %v %s", flags, msg.InternalDate.UTC(), msg.FindBodySection(whole))
	}
	return m
}

// requireSame checks that the messages and the UIDVALIDITY of every mailbox are what they were, and that no UID will be used again.
func requireSame(t *testing.T, want, got map[string]mailbox) {
	t.Helper()
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	for name, w := range want {
		require.Equal(t, w.uidValidity, got[name].uidValidity, "UIDVALIDITY of %s", name)
		require.Equal(t, w.messages, got[name].messages, "messages in %s", name)
		require.GreaterOrEqual(t, got[name].uidNext, w.uidNext, "UIDNEXT of %s", name)
	}
}

// furnish gives an account mail, folders and flags.
func furnish(t *testing.T, s *harness.System, name string) {
	t.Helper()
	for i := range 6 {
		s.Deliver(t, name, harness.Compose(fmt.Sprint("Letter ", i), strings.Repeat("text ", 100*i)))
	}
	c := s.IMAPClient(t, 0, name, nil)
	require.NoError(t, c.Create("Work/2026", nil).Wait())
	_, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	require.NoError(t, c.Store(imap.UIDSetNum(1, 2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen, "$Important"}}, nil).Close())
	_, err = c.Move(imap.UIDSetNum(2, 3), "Work/2026").Wait()
	require.NoError(t, err)
	require.NoError(t, c.Store(imap.UIDSetNum(4), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close())
	require.NoError(t, c.Expunge().Close())
	draft := harness.Compose("Draft", "not yet")
	w := c.Append("Drafts", int64(len(draft)), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagDraft}})
	_, err = w.Write(draft)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = w.Wait()
	require.NoError(t, err)
}

// offline runs the yubin command without a system that runs.
func offline(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Binary(t, "yubin"), args...)
	var o, e bytes.Buffer
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "YUBIN_") })
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

// mustOffline is offline for what must succeed.
func mustOffline(t *testing.T, args ...string) string {
	t.Helper()
	stdout, stderr, err := offline(t, args...)
	require.NoError(t, err, "yubin %s\n%s", strings.Join(args, " "), stderr)
	return stdout
}

func data(dir string) string { return filepath.Join(dir, "data") }

// requireSound checks that the ledger, the database and the object store agree.
func requireSound(t *testing.T, s *harness.System) {
	t.Helper()
	s.CLI(t, "quota", "reconcile", "--repair")
	s.NoDrift(t)
	s.CLI(t, "storage", "verify")
}

func TestABackupThatWasTakenWhileMailCameInIsPutBack(t *testing.T) {
	s := harness.Start(t, harness.Options{Accounts: []string{"alice", "bob"}})
	furnish(t, s, "alice")
	copied := t.TempDir()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { // bob's mail goes on meanwhile
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				if err := s.Send("x@example.org", []string{harness.Address("bob")}, harness.Compose(fmt.Sprint("Busy ", i), "text")); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	s.CLI(t, "backup", copied)
	s.CLI(t, "backup", copied, "--prune") // again: only what is new
	close(stop)
	<-stopped
	want := mailboxes(t, s, "alice")
	s.Deliver(t, "alice", harness.Compose("Too late", "not in the backup"))
	late := mailboxes(t, s, "alice")["INBOX"]
	s.Stop(t)

	dir := t.TempDir()
	mustOffline(t, "restore", copied, "--data-dir", data(dir))
	again := harness.Start(t, harness.Options{Dir: dir})
	got := mailboxes(t, again, "alice")
	requireSame(t, want, got)
	requireSound(t, again)
	again.Deliver(t, "alice", harness.Compose("After", "the restore"))
	after := mailboxes(t, again, "alice")["INBOX"]
	require.Len(t, after.messages, len(want["INBOX"].messages)+1)
	for uid := range after.messages {
		_, known := late.messages[uid]
		require.True(t, known || uid >= late.uidNext, "UID %d was given out before the restore, for another message", uid)
	}

	_, stderr, err := offline(t, "restore", copied, "--data-dir", data(dir))
	require.Error(t, err, "a restore over stores that are there")
	require.Contains(t, stderr, "another process")
}

func TestAnInterruptedBackupIsNotRestored(t *testing.T) {
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	s.Deliver(t, "alice", harness.Compose("One", "text"))
	copied := t.TempDir()
	s.CLI(t, "backup", copied)
	require.NoError(t, os.Remove(filepath.Join(copied, "backup.json")))
	_, stderr, err := offline(t, "restore", copied, "--data-dir", data(t.TempDir()))
	require.Error(t, err)
	require.Contains(t, stderr, "interrupted")
}

func TestADatabaseThatIsOlderThanTheBodies(t *testing.T) {
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	furnish(t, s, "alice")
	old, young := t.TempDir(), t.TempDir()
	s.CLI(t, "backup", old)
	want := mailboxes(t, s, "alice")
	for i := range 5 {
		s.Deliver(t, "alice", harness.Compose(fmt.Sprint("Later ", i), "text"))
	}
	s.CLI(t, "backup", young)
	s.Stop(t)

	mix(t, old, young, "database")
	dir := t.TempDir()
	mustOffline(t, "restore", young, "--data-dir", data(dir))
	again := harness.Start(t, harness.Options{Dir: dir})
	// What came after the database was copied is found in the bodies, with UIDs that nobody has seen.
	got := mailboxes(t, again, "alice")
	later := 0
	for uid, text := range got["INBOX"].messages {
		if _, known := want["INBOX"].messages[uid]; known {
			continue
		}
		require.Contains(t, text, "Subject: Later ")
		require.Greater(t, uid, want["INBOX"].uidNext+5)
		delete(got["INBOX"].messages, uid)
		later++
	}
	require.Equal(t, 5, later)
	requireSame(t, want, got)
	requireSound(t, again)
}

func TestBodiesThatAreOlderThanTheDatabase(t *testing.T) {
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	furnish(t, s, "alice")
	old, young := t.TempDir(), t.TempDir()
	s.CLI(t, "backup", old)
	want := mailboxes(t, s, "alice")
	for i := range 3 {
		s.Deliver(t, "alice", harness.Compose(fmt.Sprint("Gone ", i), "text"))
	}
	s.CLI(t, "backup", young)
	s.Stop(t)

	mix(t, old, young, "bodies")
	dir := t.TempDir()
	mustOffline(t, "restore", young, "--data-dir", data(dir))
	again := harness.Start(t, harness.Options{Dir: dir})

	// The messages without a body are told apart, and the others can be read.
	_, _, err := again.TryCLI(t, "", "storage", "verify")
	require.Error(t, err, "verify finds the missing objects")
	c := again.IMAPClient(t, 0, "alice", nil)
	selected, err := c.Select("INBOX", nil).Wait()
	require.NoError(t, err)
	require.EqualValues(t, len(want["INBOX"].messages)+3, selected.NumMessages)
	_, err = c.Fetch(imap.SeqSetNum(selected.NumMessages), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{Peek: true}}}).Collect()
	require.Error(t, err, "a body that is not there is an error, not an empty message")
	require.NoError(t, c.Noop().Wait(), "and the session goes on")

	var missing []map[string]any
	for line := range strings.Lines(again.CLI(t, "storage", "repair", "--json")) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m))
		missing = append(missing, m)
	}
	require.Len(t, missing, 3)
	require.Equal(t, "Gone 0", missing[0]["subject"])
	again.CLI(t, "storage", "repair", "--drop-missing")
	requireSame(t, want, mailboxes(t, again, "alice"))
	again.CLI(t, "quota", "reconcile", "--repair")
	again.NoDrift(t)

	// The bodies are found after all.
	require.NoError(t, os.CopyFS(filepath.Join(data(dir), "storage", "bodies", "found"), os.DirFS(filepath.Join(young, "lost"))))
	again.Stop(t)
	moveAll(t, filepath.Join(data(dir), "storage", "bodies", "found"), filepath.Join(data(dir), "storage", "bodies", "objects"))
	again.Restart(t)
	again.CLI(t, "mailbox", "restore", harness.Address("alice"), "--all")
	require.Len(t, mailboxes(t, again, "alice")["INBOX"].messages, len(want["INBOX"].messages)+4, "with the message that was expunged before")
	requireSound(t, again)
}

// mix puts the database or the bodies of an old backup into a young one; bodies that go are kept in the folder lost.
func mix(t *testing.T, old, young, what string) {
	t.Helper()
	if what == "database" {
		b, err := os.ReadFile(filepath.Join(old, "storage", "storage.db"))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(young, "storage", "storage.db"), b, 0o600))
		for _, more := range []string{"-wal", "-shm"} {
			_ = os.Remove(filepath.Join(young, "storage", "storage.db"+more))
		}
		return
	}
	objects := filepath.Join("storage", "bodies", "objects")
	require.NoError(t, os.Rename(filepath.Join(young, objects), filepath.Join(young, "lost")))
	require.NoError(t, os.CopyFS(filepath.Join(young, objects), os.DirFS(filepath.Join(old, objects))))
}

// moveAll moves the files of a tree into another one.
func moveAll(t *testing.T, from, to string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return err
		}
		return os.Rename(path, target)
	}))
	require.NoError(t, os.RemoveAll(from))
}
