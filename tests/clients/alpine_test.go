package clients

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// terminal is a program on a terminal of 40 lines: what it shows is waited for, and keys are pressed.
type terminal struct {
	t     *testing.T
	keys  io.WriteCloser
	out   io.Reader
	shown []byte // since the last text that was waited for
	wait  func() error
}

// onTerminal starts a command of the shell.
func (d *device) onTerminal(command string) *terminal {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	d.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "script", "--quiet", "--return", "--flush", "--command", "stty rows 40 cols 100; exec "+command, "/dev/null")
	cmd.Dir = d.home
	cmd.Env = []string{"HOME=" + d.home, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TERM=xterm", "TZ=UTC", "TMPDIR=" + d.home}
	keys, err := cmd.StdinPipe()
	require.NoError(d.t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(d.t, err)
	require.NoError(d.t, cmd.Start())
	return &terminal{t: d.t, keys: keys, out: out, wait: cmd.Wait}
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-z]")

// see waits until a text is shown. What a status line says is not worth waiting for: another may come before it is drawn.
func (t *terminal) see(text string) {
	t.t.Helper()
	piece := make([]byte, 4096)
	for {
		if i := bytes.Index(t.shown, []byte(text)); i >= 0 {
			t.shown = t.shown[i+len(text):]
			return
		}
		n, err := t.out.Read(piece)
		t.shown = append(t.shown, piece[:n]...)
		if err != nil {
			require.Contains(t.t, string(t.shown), text, "%v: %s", err, escapes.ReplaceAll(t.shown, []byte("|")))
		}
	}
}

// press presses keys.
func (t *terminal) press(keys string) {
	t.t.Helper()
	_, err := io.WriteString(t.keys, keys)
	require.NoError(t.t, err)
}

// end waits until the program has ended well.
func (t *terminal) end() {
	t.t.Helper()
	rest, _ := io.ReadAll(t.out) // a terminal ends with an error
	require.NoError(t.t, t.wait(), "%s", escapes.ReplaceAll(rest, []byte("|")))
}

// TestAlpine reads and files with Alpine, whose library is the oldest of IMAP: it goes by sequence numbers, and sorts, threads and searches on the server.
func TestAlpine(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	for _, subject := range []string{"Gamma", "Alpha", "Beta"} {
		s.Deliver(t, "alice", letter(subject, subject, "the text of "+subject))
	}
	s.Deliver(t, "alice", withAttachment("Delta", "see the file", "filename=a.bin", []byte("octets")))
	phone := s.IMAPClient(t, 0, "alice", nil)
	_, err := phone.Select("INBOX", nil).Wait()
	require.NoError(t, err)

	require.NoError(t, phone.Create("Letters", nil).Wait())

	d := newDevice(t)
	server := fmt.Sprintf("{localhost:%s/ssl/novalidate-cert/user=%s}", port(t, s.IMAPS[0]), harness.Address("alice"))
	d.write(".pinerc", fmt.Sprintf(`inbox-path=%[1]sINBOX
folder-collections=Mail %[1]s[]
user-domain=example.test
character-set=UTF-8
sort-key=arrival
last-version-used=6.26
feature-list=disable-password-file-saving,expunge-without-confirm,quit-without-confirm,enable-flag-cmd,enable-aggregate-command-set,no-preopen-stayopen-folders
`, server))
	a := d.onTerminal("alpine -nowrite_password_cache -d imap=4 -i")
	a.see("ENTER PASSWORD")
	a.press(harness.Password + "\r")
	a.see("NextPage")

	// A flag, and a copy into a folder.
	a.press("*")
	a.see("Important")
	a.press("*")
	a.see("Flag")
	a.press("s")
	a.see("SAVE")
	a.press("Letters\r")
	// Another one is found and read.
	a.press(";")
	a.see("SELECT criteria")
	a.press("ts")
	a.see("to match")
	a.press("alpha\r")
	a.see("ZOOMED")
	a.press("v")
	a.see("the text of Alpha")
	// Mail comes, and is seen after the next command; everything is sorted by the server.
	s.Deliver(t, "alice", letter("Epsilon", "Epsilon", "new"))
	a.press("<")
	a.see("MESSAGE INDEX")
	a.press("zk$")
	a.see("Choose type of sort")
	a.press("s$")
	a.see("Choose type of sort")
	a.press("hxl")
	a.see("Letters")
	a.press("q")
	a.end()

	log := d.read(".pine-debug1")
	for _, said := range []string{` SORT \(SUBJECT\) US-ASCII ALL`, ` THREAD REFERENCES US-ASCII ALL`, ` SEARCH SUBJECT alpha`, ` FETCH \S+ \(BODYSTRUCTURE FLAGS\)`, ` EXPUNGE`} {
		require.Regexp(t, said, log)
	}
	require.NotRegexp(t, `\d (NO|BAD) `, log)
	inbox := strings.Join(text(t, phone, "INBOX"), "")
	for subject, there := range map[string]bool{"Alpha": true, "Beta": true, "Gamma": false, "Delta": true, "Epsilon": true} {
		require.Equal(t, there, strings.Contains(inbox, "Subject: "+subject+"\r\n"), subject)
	}
	letters := text(t, phone, "Letters")
	require.Len(t, letters, 1)
	require.Contains(t, letters[0], "Subject: Gamma\r\n")
}
