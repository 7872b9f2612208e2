package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/bench/load"
	"github.com/yubin-mail/yubin/tests/harness"
)

var mailLocation = flag.String("peer-mailboxes", "maildir:~/Maildir", "where the peer's Dovecot keeps mail; mdbox:~/mdbox is its own format")

// peer is Postfix, which accepts mail over SMTP, syncs it into its queue and passes it over LMTP to Dovecot, which serves it. Both are as Debian packages them,
// with their own defaults for durability, and with files and ports of this run.
type peer struct {
	dir              string
	smtp, lmtp       string
	imap, pop3       string
	postfix, dovecot *exec.Cmd
	// watchdogs end them when this process is gone, however it went.
	watchdogs []*exec.Cmd
}

const dovecotConfig = `
base_dir = %[1]s/run
state_dir = %[1]s/state
log_path = %[1]s/log
protocols = imap pop3 lmtp
ssl = no
disable_plaintext_auth = no
auth_username_format = %%n
mail_location = %[2]s
mail_max_userip_connections = 100000
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
    port = %[3]s
  }
  inet_listener imaps {
    port = 0
  }
}
service imap {
  process_limit = 10000
}
service pop3-login {
  inet_listener pop3 {
    address = 127.0.0.1
    port = %[4]s
  }
  inet_listener pop3s {
    port = 0
  }
}
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = %[5]s
  }
}
namespace inbox {
  inbox = yes
}
`

const postfixConfig = `
compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/postfix-data
maillog_file = %[1]s/postfix.log
maillog_file_prefixes = %[1]s
myhostname = mx.example.test
mydestination =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
virtual_mailbox_domains = %[2]s
virtual_mailbox_maps = static:all
virtual_transport = lmtp:inet:%[3]s
`

// postfixServices is Debian's master.cf, without chroot and with a port of its own.
const postfixServices = `
%s inet  n - n - -     smtpd
cleanup  unix  n - n - 0     cleanup
qmgr     unix  n - n 300 1   qmgr
tlsmgr   unix  - - n 1000? 1 tlsmgr
rewrite  unix  - - n - -     trivial-rewrite
bounce   unix  - - n - 0     bounce
defer    unix  - - n - 0     bounce
trace    unix  - - n - 0     bounce
flush    unix  n - n 1000? 0 flush
proxymap unix  - - n - -     proxymap
error    unix  - - n - -     error
retry    unix  - - n - -     error
lmtp     unix  - - n - -     lmtp
anvil    unix  - - n - 1     anvil
scache   unix  - - n - 1     scache
postlog  unix-dgram n - n - 1 postlogd
`

// startPeer starts Postfix and Dovecot. Only root may.
func startPeer(tb testing.TB) *peer {
	tb.Helper()
	const postfixMaster = "/usr/lib/postfix/sbin/master"
	for _, program := range []string{"postfix", "dovecot", postfixMaster} {
		if _, err := exec.LookPath(program); err != nil {
			tb.Fatalf("Postfix and Dovecot are to be compared with: %v; tests/setup/bench installs them", err)
		}
	}
	require.Zero(tb, os.Geteuid(), "Postfix and Dovecot want to be started by root")
	dir, err := os.MkdirTemp("", "peer") // not tb.TempDir, whose path is closed to the users that they run as
	require.NoError(tb, err)
	p := &peer{dir: dir, smtp: harness.FreeAddr(tb), lmtp: harness.FreeAddr(tb), imap: harness.FreeAddr(tb), pop3: harness.FreeAddr(tb)}
	tb.Cleanup(func() { p.stop(tb) })
	require.NoError(tb, os.Chmod(dir, 0o755))
	for name, mode := range map[string]os.FileMode{"home": 0o777, "queue": 0o755, "postfix": 0o755, "postfix-data": 0o777} {
		require.NoError(tb, os.Mkdir(filepath.Join(dir, name), mode))
		require.NoError(tb, os.Chmod(filepath.Join(dir, name), mode)) // whatever the umask
	}
	write := func(name, format string, args ...any) string {
		name = filepath.Join(dir, name)
		require.NoError(tb, os.WriteFile(name, fmt.Appendf(nil, format, args...), 0o600))
		return name
	}
	port := func(addr string) string { _, port, _ := net.SplitHostPort(addr); return port }
	p.dovecot = exec.Command("dovecot", "-F", "-c", // not CommandContext: stop ends it, and gently
		write("dovecot.conf", dovecotConfig, dir, *mailLocation, port(p.imap), port(p.pop3), port(p.lmtp)))
	p.start(tb, p.dovecot)

	write("postfix/main.cf", postfixConfig, dir, harness.Domain, p.lmtp)
	write("postfix/master.cf", postfixServices, p.smtp)
	config := filepath.Join(dir, "postfix")
	require.NoError(tb, exec.Command("chown", "postfix", filepath.Join(dir, "postfix-data")).Run())
	out, err := exec.Command("postfix", "-c", config, "check").CombinedOutput() // makes the queue's folders
	require.NoError(tb, err, "%s", out)
	p.postfix = exec.Command(postfixMaster, "-c", config, "-d")
	p.start(tb, p.postfix)
	for _, addr := range []string{p.smtp, p.lmtp, p.imap, p.pop3} {
		require.Eventually(tb, func() bool {
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		}, time.Minute, 20*time.Millisecond, "the peer listens on %s", addr)
	}
	return p
}

// start starts a server in a process group of its own: Postfix's master ends its own group, and an interrupt from the terminal is not for it. With it
// starts a watchdog, which reads from a pipe that this process never writes to: its end is that of this process.
func (p *peer) start(tb testing.TB, cmd *exec.Cmd) {
	tb.Helper()
	own := &syscall.SysProcAttr{Setpgid: true}
	cmd.SysProcAttr = own
	require.NoError(tb, cmd.Start())
	watchdog := exec.Command("sh", "-c", `read -r _; kill "$0"; sleep 5; rm -rf "$1"`, strconv.Itoa(cmd.Process.Pid), p.dir)
	watchdog.SysProcAttr = own
	_, err := watchdog.StdinPipe() // closed by Wait, or with this process
	require.NoError(tb, err)
	require.NoError(tb, watchdog.Start())
	p.watchdogs = append(p.watchdogs, watchdog)
}

func (p *peer) stop(tb testing.TB) {
	for _, watchdog := range p.watchdogs { // first, as the numbers that they know are others' when the servers have ended
		_ = watchdog.Process.Kill()
		_ = watchdog.Wait()
	}
	for _, cmd := range []*exec.Cmd{p.postfix, p.dovecot} {
		if cmd != nil && cmd.Process != nil {
			_ = cmd.Process.Signal(syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}
	if tb.Failed() {
		for _, name := range []string{"log", "postfix.log"} {
			text, _ := os.ReadFile(filepath.Join(p.dir, name))
			tb.Logf("the end of the peer's %s:\n%s", name, text[max(0, len(text)-8<<10):])
		}
	}
	_ = os.RemoveAll(p.dir)
}

// system is the peer as one of those compared.
func (p *peer) system(accounts []string) *system {
	t := &load.Target{SMTP: p.smtp, LMTP: p.lmtp, IMAP: p.imap, POP3: p.pop3, TLS: load.Plain, Settle: p.settle}
	for _, name := range accounts {
		t.Recipients = append(t.Recipients, harness.Address(name))
		t.Idlers = append(t.Idlers, load.Login{Name: name, Password: "secret"})
	}
	t.Reader = load.Login{Name: reader, Password: "secret"}
	roots := func() []int { return []int{p.postfix.Process.Pid, p.dovecot.Process.Pid} }
	return &system{
		name: "Postfix + Dovecot", target: t, processes: roots, sessions: roots, counters: func(testing.TB) counters { return "" },
		stored: func(tb testing.TB) int64 { return diskUsage(tb, filepath.Join(p.dir, "home")) },
	}
}

// settle waits until Postfix has no mail that is not delivered.
func (p *peer) settle(ctx context.Context) error {
	for {
		empty := true
		for _, queue := range []string{"maildrop", "incoming", "active", "deferred"} { // in the order in which mail goes through
			found := errors.New("mail waits")
			err := filepath.WalkDir(filepath.Join(p.dir, "queue", queue), func(_ string, entry os.DirEntry, err error) error {
				if errors.Is(err, os.ErrNotExist) {
					return nil
				}
				if err == nil && entry.Type().IsRegular() {
					return found
				}
				return err
			})
			if errors.Is(err, found) {
				if queue == "deferred" {
					text, _ := os.ReadFile(filepath.Join(p.dir, "postfix.log"))
					return fmt.Errorf("Postfix could not deliver a mail: %s", strings.TrimSpace(string(text[max(0, len(text)-2<<10):])))
				}
				empty = false
				break
			}
			if err != nil {
				return err
			}
		}
		if empty {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Millisecond):
		}
	}
}
