// Package clients tests Yubin with the mail programs that its users have: curl, swaks, mbsync, OfflineIMAP, mpop, Mutt, NeoMutt, Alpine, IMAPFilter,
// ImapFlow, go-imap's client, the commands of Thunderbird, and the operator's own command line. tests/setup/install installs them.
package clients

import (
	"bytes"
	"context"
	"encoding/base64"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// patience is how long a client may take: far more than a healthy system needs.
const patience = 90 * time.Second

// device is a user's machine: a home directory with programs' configuration and mail.
type device struct {
	t    *testing.T
	home string
}

func newDevice(t *testing.T) *device {
	t.Helper()
	return &device{t: t, home: t.TempDir()}
}

// path is a file in the home directory.
func (d *device) path(elem ...string) string {
	return filepath.Join(append([]string{d.home}, elem...)...)
}

// write makes a file in the home directory that only its owner can read, and gives its path.
func (d *device) write(name, content string) string {
	d.t.Helper()
	file := d.path(name)
	require.NoError(d.t, os.MkdirAll(filepath.Dir(file), 0o700))
	require.NoError(d.t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

// read gives a file of the home directory.
func (d *device) read(elem ...string) string {
	d.t.Helper()
	content, err := os.ReadFile(d.path(elem...))
	require.NoError(d.t, err)
	return string(content)
}

// result is what a program did.
type result struct {
	stdout, stderr string
	code           int
}

// all is what it printed.
func (r result) all() string { return r.stdout + r.stderr }

// try runs a program with this input.
func (d *device) try(input, name string, args ...string) result {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = d.home, strings.NewReader(input), &stdout, &stderr
	cmd.Env = []string{"HOME=" + d.home, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TERM=xterm", "TZ=UTC", "TMPDIR=" + d.home}
	err := cmd.Run()
	if cmd.ProcessState == nil || ctx.Err() != nil {
		d.t.Fatalf("run %s %q: %v\n%s%s", name, args, err, &stdout, &stderr)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// run is try for what must succeed; it gives the standard output.
func (d *device) run(name string, args ...string) string {
	d.t.Helper()
	r := d.try("", name, args...)
	require.Zero(d.t, r.code, "%s %q:\n%s", name, args, r.all())
	return r.stdout
}

// port is the port of an address.
func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return p
}

// crlf gives a text with the line ends of the network.
func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// lf gives a text with the line ends of a local file.
func lf(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }

// letter is a message with a given Message-ID.
func letter(id, subject, body string) []byte {
	return []byte(crlf("From: Sender <sender@elsewhere.example>\nTo: someone@" + harness.Domain + "\nSubject: " + subject +
		"\nDate: Sun, 01 Mar 2026 12:00:00 +0000\nMessage-ID: <" + id + "@elsewhere.example>\n\n" + body + "\n"))
}

// text gives the messages of a mailbox as strings.
func text(t *testing.T, c *imapclient.Client, mailbox string) []string {
	t.Helper()
	var out []string
	for _, body := range harness.Bodies(t, c, mailbox) {
		out = append(out, string(body))
	}
	return out
}

// addFlags adds flags to messages of the selected mailbox, by UID.
func addFlags(t *testing.T, c *imapclient.Client, uids imap.UIDSet, flags ...imap.Flag) {
	t.Helper()
	require.NoError(t, c.Store(uids, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: flags, Silent: true}, nil).Close())
}

// allUIDs is 1:*.
func allUIDs() imap.UIDSet { return imap.UIDSet{imap.UIDRange{Start: 1, Stop: 0}} }

// appendMessage puts a message into a mailbox.
func appendMessage(t *testing.T, c *imapclient.Client, mailbox string, message []byte, options *imap.AppendOptions) *imap.AppendData {
	t.Helper()
	cmd := c.Append(mailbox, int64(len(message)), options)
	_, err := cmd.Write(message)
	require.NoError(t, err)
	require.NoError(t, cmd.Close())
	data, err := cmd.Wait()
	require.NoError(t, err)
	return data
}

// withAttachment is a multipart/mixed message of a text and a file; disposition holds the parameters of Content-Disposition.
func withAttachment(subject, body, disposition string, file []byte) []byte {
	var encoded strings.Builder
	for line := range slices.Chunk([]byte(base64.StdEncoding.EncodeToString(file)), 76) {
		encoded.Write(line)
		encoded.WriteString("\r\n")
	}
	return []byte(crlf("From: Sender <sender@elsewhere.example>\nTo: someone@"+harness.Domain+"\nSubject: "+subject+
		"\nDate: Sun, 01 Mar 2026 12:00:00 +0000\nMessage-ID: <attachment@elsewhere.example>\nMIME-Version: 1.0\n"+
		"Content-Type: multipart/mixed; boundary=frontier\n\n--frontier\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"+body+
		"\n--frontier\nContent-Type: application/octet-stream\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; "+disposition+"\n\n") +
		encoded.String() + "--frontier--\r\n")
}
