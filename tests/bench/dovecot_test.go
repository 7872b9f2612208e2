package bench

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// dovecot is a peer: Dovecot on Maildirs, with its own defaults.
type dovecot struct{ lmtp, imapAddr string }

const dovecotConfig = `
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = imap lmtp
ssl = no
disable_plaintext_auth = no
auth_username_format = %%n
mail_location = maildir:~/Maildir
mail_max_userip_connections = 1000
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=nobody gid=nogroup home=%[1]s/home/%%n allow_all_users=yes
}
service imap-login {
  inet_listener imap {
    address = 127.0.0.1
    port = %[2]s
  }
  inet_listener imaps {
    port = 0
  }
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = %[3]s
  }
}
`

// startDovecot starts the peer, if it is installed and may be started, which only root may; nil otherwise.
func startDovecot(r *run) *dovecot {
	r.Helper()
	binary, err := exec.LookPath("dovecot")
	if err != nil || os.Geteuid() != 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "dovecot") // not r.TempDir, whose path is closed to others, and Dovecot is one
	require.NoError(r, err)
	require.NoError(r, os.Chmod(dir, 0o755))
	require.NoError(r, os.Mkdir(filepath.Join(dir, "home"), 0o777))
	require.NoError(r, os.Chmod(filepath.Join(dir, "home"), 0o777))
	d := &dovecot{lmtp: harness.FreeAddr(r), imapAddr: harness.FreeAddr(r)}
	_, imapPort, _ := net.SplitHostPort(d.imapAddr)
	_, lmtpPort, _ := net.SplitHostPort(d.lmtp)
	config := filepath.Join(dir, "dovecot.conf")
	require.NoError(r, os.WriteFile(config, fmt.Appendf(nil, dovecotConfig, dir, imapPort, lmtpPort), 0o600))
	cmd := exec.Command(binary, "-F", "-c", config) // not CommandContext: Cleanup ends it, and gently
	require.NoError(r, cmd.Start())
	r.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if r.Failed() {
			text, _ := os.ReadFile(filepath.Join(dir, "log"))
			r.Logf("dovecot: %s", text)
		}
		_ = os.RemoveAll(dir)
	})
	require.Eventually(r, func() bool {
		conn, err := net.Dial("tcp", d.imapAddr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, time.Minute, 20*time.Millisecond, "dovecot listens")
	return d
}

// imap logs in to the account that receives as receiver(0).
func (d *dovecot) imap(r *run) *stream {
	r.Helper()
	return imap(r, d.imapAddr, "u0", "secret")
}
