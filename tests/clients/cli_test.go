package clients

import (
	"encoding/json"

	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// exitCode of a command.
func exitCode(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	return exit.ExitCode()
}

// fails runs a yubin command that must fail in a certain way.
func fails(t *testing.T, s *harness.System, code int, reason string, args ...string) {
	t.Helper()
	stdout, stderr, err := s.TryCLI(t, "", args...)
	require.Equal(t, code, exitCode(t, err), "yubin %q\n%s", args, stderr)
	require.Contains(t, stderr, reason, "yubin %q", args)
	require.True(t, strings.HasPrefix(stderr, "yubin: "), stderr)
	require.Empty(t, stdout, "errors go to standard error")
}

// jsonLines are the objects that a command prints with --json.
func jsonLines(t *testing.T, s *harness.System, args ...string) (objects []map[string]any) {
	t.Helper()
	for line := range strings.Lines(s.CLI(t, append(args, "--json")...)) {
		var object map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &object), "yubin %q: %s", args, line)
		objects = append(objects, object)
	}
	return objects
}

const description = `
limit: {size: 1GB}
domains:
  - name: example.test
    catch-all: [hanako@example.test]
  - name: example.org
    limit: {size: 2GB, messages: 5000}
accounts:
  - address: hanako@example.test
    display-name: 郵便 花子
    password: correct horse battery
    limit: {size: 300MB}
  - address: taro@example.org
    password: correct horse battery
    pop-delete: keep
aliases:
  - address: team@example.test
    targets: [hanako@example.test, taro@example.org]
`

func TestTheOperatorDescribesTheSystemInAFile(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{})
	apply := func(file string, args ...string) string {
		t.Helper()
		return s.CLIInput(t, file, append([]string{"apply", "-f", "-"}, args...)...)
	}
	plan := apply(description, "--dry-run")
	require.Contains(t, plan, "+ account hanako@example.test")
	require.Empty(t, jsonLines(t, s, "domain", "list"), "a dry run changes nothing")
	require.Contains(t, apply(description), "+ alias team@example.test")
	require.Equal(t, "nothing to change\n", apply(description), "the second time there is nothing to do")
	require.Empty(t, apply(description, "--json"))

	require.NotEmpty(t, s.IMAPClient(t, 0, "hanako", nil).State())
	s.Deliver(t, "team", letter("team", "To all", "hello"))
	s.Deliver(t, "unknown-name", letter("any", "To anyone", "hello"))
	for name, n := range map[string]int64{"hanako@example.test": 2, "taro@example.org": 1} {
		eventually(t, func() bool { return usageOf(t, s, name).UsedMessages == n }, name)
		require.Equal(t, map[string]int64{"hanako@example.test": 300e6, "taro@example.org": 2e9}[name], usageOf(t, s, name).LimitBytes)
	}

	changed := apply(strings.Replace(description, "300MB", "none", 1))
	require.Contains(t, changed, "~ ")
	require.Contains(t, changed, "hanako@example.test")
	require.EqualValues(t, -1, usageOf(t, s, "hanako@example.test").LimitBytes, "none")

	d := newDevice(t)
	offered := d.run(harness.Binary(t, "yubin"), "__complete", "--data-dir", filepath.Join(s.Dir, "data"), "account", "show", "ha")
	require.Contains(t, offered, "hanako@example.test\n", "Tab in the shell completes what there is")
	require.NotContains(t, offered, "taro")

	_, stderr, err := s.TryCLI(t, "domains:\n  - name: example.test\n  - nome: x\nacounts: []\n", "apply", "-f", "-")
	require.Equal(t, 1, exitCode(t, err))
	require.Contains(t, stderr, "nome", "all mistakes at once")
	require.Contains(t, stderr, "acounts")
}

func TestTheOperatorsCommands(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Shape: harness.Split, Accounts: []string{"alice", "bob"}})
	s.CLI(t, "account", "set", harness.Address("alice"), "--display-name", "アリス \"A\" Example")
	s.CLI(t, "alias", "add", harness.Address("team"), harness.Address("alice"))
	s.CLI(t, "alias", "add", harness.Address("team"), harness.Address("bob"))
	s.Deliver(t, "alice", []byte("Subject: =?utf-8?B?5omL57SZ?= \x1b[31mred\r\n\r\nx\r\n"))
	pop := s.POP3Client(t, "alice")
	pop.Do("DELE 1")
	pop.Do("QUIT")

	t.Run("lists as tables and as JSON", func(t *testing.T) {
		for command, want := range map[string]string{
			"domain list":                        harness.Domain,
			"account list":                       "アリス",
			"account show alice@example.test":    "team@example.test",
			"alias list":                         "alice@example.test, bob@example.test",
			"quota show":                         "bob@example.test",
			"quota show alice@example.test":      "5GB",
			"quota reconcile":                    "alice@example.test",
			"mailbox list alice@example.test":    "Drafts",
			"mailbox deleted alice@example.test": "手紙",
			"version":                            "yubin",
		} {
			args := strings.Fields(command)
			out := s.CLI(t, args...)
			require.Contains(t, out, want, command)
			require.NotContains(t, out, "\x1b", "strangers do not control the operator's terminal")
			require.NotEmpty(t, jsonLines(t, s, args...), command)
		}
	})
	t.Run("limits of account, domain and all", func(t *testing.T) {
		bob := harness.Address("bob")
		require.Equal(t, int64(5e9), usageOf(t, s, bob).LimitBytes)
		for _, step := range []struct {
			args string
			want int64
		}{
			{"--global 3GB", 3e9}, {"example.test 2GB", 2e9}, {"bob@example.test 1GiB", 1 << 30}, {"bob@example.test none", -1},
			{"bob@example.test default", 2e9}, {"example.test default", 3e9}, {"--global default", 5e9},
		} {
			s.CLI(t, append([]string{"quota", "set"}, strings.Fields(step.args)...)...)
			require.Equal(t, step.want, usageOf(t, s, bob).LimitBytes, step.args)
		}
	})
	t.Run("passwords and aliases", func(t *testing.T) {
		s.CLIInput(t, "another battery staple\n", "password", "set", harness.Address("bob"), "--password-stdin")
		_, err := s.DialPOP3(t, "bob")
		require.ErrorContains(t, err, "[AUTH]", "the old password is no longer good")
		d := newDevice(t)
		r := d.curl(s, "bob", "another battery staple", "pop3s://"+s.POP3S+"/")
		require.Zero(t, r.code, r.all())

		app := jsonLines(t, s, "password", "app", "add", harness.Address("bob"), "--label", "phone", "--protocols", "imap")[0]
		secret, ok := app["password"].(string)
		require.True(t, ok, "%v", app)
		require.Zero(t, d.curl(s, "bob", secret, "imaps://"+s.IMAPS[0]+"/").code)
		require.Equal(t, curlLoginDenied, d.curl(s, "bob", secret, "pop3s://"+s.POP3S+"/").code, "it is for IMAP alone")
		listed := s.CLI(t, "password", "app", "list", harness.Address("bob"))
		require.Contains(t, listed, "phone")
		require.NotContains(t, listed, secret)
		id, ok := jsonLines(t, s, "password", "app", "list", harness.Address("bob"))[0]["id"].(string)
		require.True(t, ok)
		s.CLI(t, "password", "app", "remove", harness.Address("bob"), id)
		require.Equal(t, curlLoginDenied, d.curl(s, "bob", secret, "imaps://"+s.IMAPS[0]+"/").code, "the lost phone is locked out")

		s.CLI(t, "alias", "remove", harness.Address("team"), harness.Address("bob"))
		s.CLI(t, "alias", "remove", harness.Address("team"))
		require.Empty(t, jsonLines(t, s, "alias", "list"))
	})
	t.Run("says what is wrong", func(t *testing.T) {
		fails(t, s, 2, "unknown command", "acount")
		fails(t, s, 2, "unknown command", "account", "lst")
		fails(t, s, 2, "missing", "account", "show")
		fails(t, s, 2, "no-such-flag", "account", "list", "--no-such-flag")
		fails(t, s, 2, "lots", "quota", "set", harness.Address("bob"), "lots")
		fails(t, s, 1, "nobody@example.test", "account", "show", harness.Address("nobody"))
		fails(t, s, 1, "domain", "account", "add", "x@elsewhere.example", "--generate")
		fails(t, s, 1, "not confirmed", "account", "remove", harness.Address("bob"))
		fails(t, s, 1, "no-such-file", "apply", "-f", "/no-such-file")
		s.CLI(t, "account", "remove", harness.Address("bob"), "--yes")
		fails(t, s, 1, "bob", "account", "show", harness.Address("bob"))
		require.Len(t, jsonLines(t, s, "account", "list"), 1)
	})
}

func TestTheCommandLineWithoutASystem(t *testing.T) {
	t.Parallel()
	d, yubin := newDevice(t), harness.Binary(t, "yubin")
	for _, args := range [][]string{{"account", "list"}, {"quota", "show"}, {"account", "list", "--data-dir", d.path("nothing")}} {
		r := d.try("", yubin, args...)
		require.Equal(t, 1, r.code, r.all())
		require.Contains(t, r.stderr, "no running system found")
		require.Contains(t, r.stderr, "yubin serve", "and says what to do")
		require.Empty(t, r.stdout)
	}
	require.Contains(t, d.run(yubin, "--help"), "Usage:")
	require.Contains(t, d.run(yubin, "version"), "yubin ")
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		script := d.run(yubin, "completion", shell)
		require.Contains(t, script, "yubin")
		if shell == "bash" {
			d.run("bash", "-n", d.write("completion.bash", script))
		}
	}
	require.NotContains(t, d.run(yubin, "__complete", "account", "show", ""), "@", "nothing to offer, and no error within the shell's line")
	require.NoDirExists(t, d.path("data"), "looking for a system makes none")
}
