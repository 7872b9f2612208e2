package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/yubin-mail/yubin/pkg/tlsconf"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/yubin/internal/endpoint"
)

func TestDomains(t *testing.T) {
	w := newWorld(t)
	want(t, w.ok("domain add Example.TEST"), "domain example.test added")
	w.fails(exitFailed, "exists already", "domain add example.test")
	w.ok("domain add other.test --catch-all root@example.test --pop-delete keep --subaddress=false --disable")
	got := jsonLines[domainView](w, "domain list")
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	if d := got[1]; d.Name != "other.test" || !slices.Equal(d.CatchAll, []string{"root@example.test"}) || d.PopDelete != "keep" || d.Subaddress || !d.Disabled {
		t.Errorf("%+v", d)
	}
	w.ok("domain set other.test --enable")
	if d := jsonLines[domainView](w, "domain list")[1]; d.Disabled || d.PopDelete != "keep" || len(d.CatchAll) != 1 {
		t.Errorf("only disabled was to change: %+v", d)
	}
	if r := w.runWith("", "domain", "set", "other.test", "--catch-all", ""); r.code != exitOK {
		t.Error(r)
	}
	want(t, w.ok("domain list"), "DOMAIN", "other.test    active  keep       off         -")
	w.fails(exitUsage, "nothing to change", "domain set other.test")
	w.fails(exitFailed, "there is no domain", "domain set nowhere.test --disable")
	w.ok("domain remove other.test")
	w.fails(exitFailed, "does not exist", "domain remove other.test")
	w.ok("account add a@example.test --no-password")
	w.fails(exitFailed, "still has accounts", "domain remove example.test")
}

func TestAccounts(t *testing.T) {
	w := newWorld(t)
	w.fails(exitUsage, "--password-stdin", "account add alice@example.test")
	r := w.runWith("correct horse\n", "account", "add", "alice@example.test", "--password-stdin")
	if r.code != exitFailed || !strings.Contains(r.err, "yubin domain add") {
		t.Errorf("without the domain: %+v", r)
	}
	w.accounts()
	w.fails(exitFailed, "exists already", "account add alice@example.test --no-password")
	r = w.runWith("short\n", "account", "add", "c@example.test", "--password-stdin")
	if r.code != exitFailed || !strings.Contains(r.err, "at least 8 characters") {
		t.Errorf("short password: %+v", r)
	}
	generated := jsonLines[accountView](w, "account add carol@example.test --generate --pop-delete trash")[0]
	if len(generated.Password) < 26 || generated.PopDelete != "trash" {
		t.Errorf("%+v", generated)
	}
	got := jsonLines[accountView](w, "account list")
	if len(got) != 3 || got[0].Address != "alice@example.test" || got[0].DisplayName != "Alice" || got[0].EffectivePopDelete != "expunge" || got[0].Password != "" {
		t.Errorf("%+v", got)
	}
	w.ok("account set alice@example.test --pop-delete keep --disable")
	if a := jsonLines[accountView](w, "account show alice@example.test")[0]; !a.Disabled || a.PopDelete != "keep" || a.DisplayName != "Alice" || a.Usage.LimitBytes != 5e9 {
		t.Errorf("%+v", a)
	}
	want(t, w.ok("account show alice@example.test"), "State       disabled", "Used        0 B of 5GB, 0 messages")
	w.fails(exitUsage, "nothing to change", "account set alice@example.test")
	w.fails(exitFailed, "the account does not exist", "account show nobody@example.test")
	want(t, w.ok("password set alice@example.test --password-stdin"), "password of alice@example.test set")
	w.fails(exitUsage, "--password-stdin", "password set alice@example.test")
}

func TestRemoveAccount(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	w.ok("alias add team@example.test alice@example.test bob@example.test")
	w.ok("import mbox %s --to alice@example.test --state %s", writeMbox(t, 3), filepath.Join(w.state, "s"))
	w.fails(exitFailed, "not confirmed", "account remove alice@example.test")
	acc, err := w.clients.account(t.Context(), "alice@example.test")
	if err != nil {
		t.Fatal(err)
	}
	// As after an interruption half-way.
	disabled := true
	if _, err := w.clients.directoryAdmin.UpdateAccount(t.Context(), &directoryv1.UpdateAccountRequest{Address: acc.GetAddress(), Disabled: &disabled}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.clients.quotaAdmin.ForgetAccount(t.Context(), &quotav1.ForgetAccountRequest{AccountId: acc.GetAccountId()}); err != nil {
		t.Fatal(err)
	}
	r := w.runWith("", "account", "remove", "alice@example.test", "--yes")
	want(t, r.out, "account alice@example.test removed, with 3 messages")
	want(t, r.err, "Still leading to it: team@example.test")
	if r.code != exitOK {
		t.Errorf("exit %d", r.code)
	}
	w.fails(exitFailed, "does not exist", "account remove alice@example.test --yes")
	if got := jsonLines[accountView](w, "account list"); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAppPasswords(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	p := jsonLines[appPasswordView](w, "password app add alice@example.test --label phone --protocols imap,smtp")[0]
	if p.ID == "" || p.Password == "" || p.Label != "phone" {
		t.Errorf("%+v", p)
	}
	got := jsonLines[appPasswordView](w, "password app list alice@example.test")
	if len(got) != 1 || got[0].Password != "" || !slices.Equal(got[0].Protocols, []string{"imap", "smtp"}) {
		t.Errorf("%+v", got)
	}
	w.fails(exitUsage, "--label", "password app add alice@example.test")
	w.fails(exitFailed, "none of smtp, pop3, imap", "password app add alice@example.test --label x --protocols nntp")
	w.ok("password app remove alice@example.test %s", p.ID)
	w.fails(exitFailed, "does not exist", "password app remove alice@example.test %s", p.ID)
}

func TestAliases(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	want(t, w.ok("alias add Team@example.test alice@example.test"), "alias team@example.test added")
	want(t, w.ok("alias add team@example.test bob@example.test alice@example.test"), "changed: leads to alice@example.test, bob@example.test")
	w.fails(exitFailed, "domain", "alias add team@example.test x@foreign.test")
	w.ok("alias remove team@example.test alice@example.test")
	if got := jsonLines[aliasView](w, "alias list"); len(got) != 1 || !slices.Equal(got[0].Targets, []string{"bob@example.test"}) {
		t.Errorf("%+v", got)
	}
	w.ok("alias add team@example.test alice@example.test --replace")
	want(t, w.ok("alias list example.test"), "team@example.test  alice@example.test")
	w.fails(exitFailed, "there is no target bob@example.test", "alias remove team@example.test bob@example.test")
	w.ok("alias remove team@example.test")
	w.fails(exitFailed, "does not exist", "alias remove team@example.test")
}

func TestQuota(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	want(t, w.ok("quota set alice@example.test 1MB"), "limit of alice@example.test: 1MB, messages: default")
	w.ok("quota set alice@example.test --messages 10")
	w.ok("quota set example.test 2GB --messages none")
	w.ok("quota set --global none")
	limits := jsonLines[limitView](w, "quota limits")
	if len(limits) != 3 {
		t.Errorf("%+v", limits)
	}
	for _, l := range limits {
		switch {
		case l.Scope == "account" && (l.Name != "alice@example.test" || *l.Bytes != 1e6 || *l.Messages != 10),
			l.Scope == "domain" && (l.Name != "example.test" || *l.Bytes != 2e9 || *l.Messages != -1),
			l.Scope == "global" && (*l.Bytes != -1 || l.Messages != nil):
			t.Errorf("%+v", l)
		}
	}
	w.ok("import mbox %s --to alice@example.test --state %s", writeMbox(t, 4), filepath.Join(w.state, "s"))
	usages := jsonLines[usageView](w, "quota show")
	if len(usages) != 2 || usages[0].Address != "alice@example.test" || usages[0].LimitMessages != 10 || usages[1].LimitBytes != 2e9 {
		t.Errorf("%+v", usages)
	}
	reconciled := jsonLines[reconcileView](w, "quota reconcile alice@example.test --repair")
	if len(reconciled) != 1 || reconciled[0].DriftBytes != 0 || reconciled[0].StoredMessages != 4 {
		t.Errorf("%+v", reconciled)
	}
	want(t, w.ok("quota reconcile"), "ADDRESS", "alice@example.test")
	w.ok("quota set alice@example.test default --messages default")
	if u := jsonLines[usageView](w, "quota show alice@example.test")[0]; u.LimitBytes != 2e9 || u.LimitMessages != -1 {
		t.Errorf("%+v", u)
	}
	want(t, w.ok("quota show alice@example.test"), "2GB", "0.0%")
	w.fails(exitUsage, "is no limit", "quota set alice@example.test lots")
	w.fails(exitUsage, "SIZE", "quota set alice@example.test")
	w.fails(exitUsage, "unexpected argument", "quota set --global 1GB 2GB")
	w.fails(exitFailed, "there is no domain", "quota set nowhere.test 1GB")
	w.fails(exitFailed, "does not exist", "quota show nobody@example.test")
}

func TestMailboxes(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	w.ok("import mbox %s --to alice@example.test --state %s", writeMbox(t, 3), filepath.Join(w.state, "s"))
	boxes := jsonLines[mailboxView](w, "mailbox list alice@example.test")
	if boxes[0].Name != "INBOX" || boxes[0].Messages != 3 || !slices.ContainsFunc(boxes, func(b mailboxView) bool { return b.SpecialUse == "trash" }) {
		t.Errorf("%+v", boxes)
	}
	w.imapDelete("alice@example.test", "INBOX")
	deleted := jsonLines[deletedView](w, "mailbox deleted alice@example.test --since 1h --mailbox inbox")
	if len(deleted) != 3 || !strings.HasPrefix(deleted[0].Subject, "message ") || deleted[0].Bytes == 0 {
		t.Fatalf("%+v", deleted)
	}
	if none := jsonLines[deletedView](w, "mailbox deleted alice@example.test --mailbox Sent"); len(none) != 0 {
		t.Errorf("%+v", none)
	}
	w.fails(exitUsage, "choose the messages", "mailbox restore alice@example.test")
	w.fails(exitUsage, "not both", "mailbox restore alice@example.test 1 --all")
	w.fails(exitUsage, "is no time", "mailbox restore alice@example.test --since yesterday")
	want(t, w.ok("mailbox restore alice@example.test %s", deleted[0].ID), "1 message restored")
	want(t, w.ok("mailbox restore alice@example.test --since 1h --to Recovered"), "2 messages restored")
	got := map[string]uint32{}
	for _, b := range jsonLines[mailboxView](w, "mailbox list alice@example.test") {
		got[b.Name] = b.Messages
	}
	if got["INBOX"] != 1 || got["Recovered"] != 2 {
		t.Errorf("%v", got)
	}
}

func TestSharedMailboxes(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	w.ok("domain add other.test")
	w.ok("account add carol@other.test --no-password")
	if none := jsonLines[shareView](w, "mailbox share list alice@example.test"); len(none) != 0 {
		t.Errorf("%+v", none)
	}
	want(t, w.ok("mailbox share set alice@example.test INBOX bob@example.test write"), "bob@example.test may do lrswite with INBOX")
	w.ok("mailbox share set alice@example.test Sent @example.test rl")
	w.ok("mailbox share set alice@example.test Sent bob@example.test all")
	list := func(args string) (out []string) {
		for _, v := range jsonLines[shareView](w, "mailbox share list alice@example.test"+args) {
			out = append(out, strings.Join([]string{v.Mailbox, v.Grantee, v.Rights}, " "))
		}
		slices.Sort(out)
		return out
	}
	if got := strings.Join(list(""), ", "); got != "INBOX bob@example.test lrswite, Sent @example.test lr, Sent bob@example.test lrswipkxtea" {
		t.Errorf("the lists are %s", got)
	}
	bob, err := w.clients.account(t.Context(), "bob@example.test")
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.storage.ListMailboxes(t.Context(), &storagev1.ListMailboxesRequest{
		AccountId: bob.GetAccountId(), SharedWith: &storagev1.Actor{AccountId: bob.GetAccountId(), Domain: "example.test"},
	})
	if err != nil || len(r.GetShared()) != 1 || len(r.GetShared()[0].GetMailboxes()) != 2 {
		t.Errorf("bob is given %v, %v", r.GetShared(), err)
	}
	want(t, w.ok("mailbox share remove alice@example.test INBOX bob@example.test"), "bob@example.test may do nothing with INBOX any more")
	w.ok("account remove bob@example.test --yes")
	if got := strings.Join(list(" Sent"), ", "); got != "Sent @example.test lr" {
		t.Errorf("the list is %s", got)
	}
	if r := w.runWith("", "mailbox", "share", "set", "alice@example.test", "INBOX", "@example.test", ""); r.code != exitFailed || !strings.Contains(r.err, "share remove") {
		t.Errorf("no rights gave %+v", r)
	}
	w.fails(exitFailed, "is no right", "mailbox share set alice@example.test INBOX @example.test often")
	w.fails(exitFailed, "there is no domain", "mailbox share set alice@example.test INBOX @nowhere.test read")
	w.fails(exitFailed, "shared within example.test", "mailbox share set alice@example.test INBOX carol@other.test read")
	w.fails(exitFailed, "shared within example.test", "mailbox share set alice@example.test INBOX @other.test read")
	w.fails(exitFailed, "there is no @", "mailbox share set alice@example.test INBOX nobody read")
	w.fails(exitFailed, "has all rights", "mailbox share set alice@example.test INBOX alice@example.test read")
	w.fails(exitFailed, "no such mailbox", "mailbox share list alice@example.test None")
	w.fails(exitUsage, "RIGHTS", "mailbox share set alice@example.test INBOX @example.test")
	w.ok("mailbox share remove alice@example.test INBOX @nowhere.test")
}

func TestApply(t *testing.T) {
	w := newWorld(t)
	const file = `limit: {size: 3GB}
domains:
- name: a.test
  catch-all: [info@b.test]   # of a domain that comes later
  limit: {size: 1GB}
- name: b.test
accounts:
- address: alice@a.test
  display-name: Alice
  password: correct horse
  limit: {messages: 100}
- address: info@b.test
aliases:
- address: team@a.test
  targets: [alice@a.test, info@b.test]
`
	run := func(text string, more ...string) result {
		return w.runWith(text, append([]string{"apply", "-f", "-"}, more...)...)
	}
	if r := run(file, "--dry-run"); r.code != exitOK || !strings.Contains(r.out, "+ account alice@a.test  (display-name: \"Alice\"; limit messages: 100)") ||
		!strings.Contains(r.out, "5 to create, 1 to change; nothing was changed") {
		t.Errorf("%+v", r)
	}
	if got := jsonLines[domainView](w, "domain list"); len(got) != 0 {
		t.Errorf("a dry run made %+v", got)
	}
	if r := run(file); r.code != exitOK || !strings.Contains(r.out, "~ limit of all accounts  (limit size: default → 3GB)") || !strings.Contains(r.out, "5 created, 1 changed") {
		t.Errorf("%+v", r)
	}
	if d := jsonLines[domainView](w, "domain list")[0]; !slices.Equal(d.CatchAll, []string{"info@b.test"}) {
		t.Errorf("%+v", d)
	}
	if u := jsonLines[usageView](w, "quota show alice@a.test")[0]; u.LimitBytes != 1e9 || u.LimitMessages != 100 {
		t.Errorf("%+v", u)
	}
	if r := run(file); r.code != exitOK || r.out != "nothing to change\n" {
		t.Errorf("second time: %+v", r)
	}
	changed := strings.NewReplacer("display-name: Alice", "display-name: Alice A.\n  pop-delete: keep", "{messages: 100}", "{messages: default}", "[alice@a.test, info@b.test]", "[alice@a.test]").Replace(file)
	r := run(changed)
	want(t, r.out, `~ account alice@a.test  (display-name: "Alice" → "Alice A."; pop-delete: default → keep; limit messages: 100 → default)`,
		"~ alias team@a.test  (targets: alice@a.test, info@b.test → alice@a.test)", "0 created, 2 changed")
	if r := run("accounts:\n- address: x@nowhere.test\naliases:\n- address: y@a.test\n  targets: [z@nowhere.test]\n"); r.code != exitFailed ||
		!strings.Contains(r.err, "line 2: x@nowhere.test: there is no domain") || !strings.Contains(r.err, "line 5: z@nowhere.test") {
		t.Errorf("%+v", r)
	}
	if r := run("nonsense: 1\n"); r.code != exitFailed || !strings.Contains(r.err, `line 1: unknown setting "nonsense"`) {
		t.Errorf("%+v", r)
	}
	w.fails(exitUsage, "-f", "apply")
	want(t, w.ok("apply -f ../../../../deploy/examples/accounts.yaml"), "7 created, 1 changed")
	want(t, w.ok("apply -f ../../../../deploy/examples/accounts.yaml"), "nothing to change")
}

func TestUsageAndHelp(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ command, say string }{
		{"frobnicate", `unknown command "frobnicate"`},
		{"domain lst", `did you mean "list"?`},
		{"domain add", "an argument is missing"},
		{"domain add a.test b.test", `unexpected argument "b.test"`},
		{"domain list --bogus", "unknown flag: --bogus"},
		{"domain set a.test --pop-delete burn", "none of default, expunge, trash, keep"},
		{"account set a@a.test --enable --disable", "[disable enable]"},
		{"import mbox x", "--to"},
		{"import imap host --to a@a.test", "--user"},
		{"export a@a.test", "--to"},
		{"quota set", "ADDRESS"},
	} {
		w.fails(exitUsage, c.say, "%s", c.command)
	}
	for _, command := range []string{"--help", "domain", "domain add --help", "import imap --help", "apply --help", "help quota set"} {
		want(t, w.ok("%s", command), "Usage:")
	}
	want(t, w.ok("version"), "yubin ")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		want(t, w.ok("completion %s", shell), "yubin")
	}
}

func TestCompletion(t *testing.T) {
	w := newWorld(t)
	w.accounts()
	w.ok("alias add team@example.test bob@example.test")
	for _, c := range []struct{ command, want string }{
		{"account show a", "alice@example.test\n:4\n"},
		{"domain set ex", "example.test\n:4\n"},
		{"quota set ", "example.test\nalice@example.test\nbob@example.test\n:4\n"},
		{"alias remove t", "team@example.test\n:4\n"},
		{"alias remove team@example.test ", "bob@example.test\n:4\n"},
		{"import mbox file --to b", "bob@example.test\n:4\n"},
		{"mailbox share list alice@example.test s", "Sent\n:4\n"},
		{"mailbox share set alice@example.test Sent b", "bob@example.test\n:4\n"},
		{"mailbox share set alice@example.test Sent bob@example.test ", "read\nwrite\nall\n:4\n"},
	} {
		r := w.runWith("", append([]string{"__complete"}, strings.Split(c.command, " ")...)...)
		if r.out != c.want {
			t.Errorf("%q offers %q, want %q", c.command, r.out, c.want)
		}
	}
}

func TestNothingRuns(t *testing.T) {
	for _, c := range []struct {
		args    string
		environ []string
		code    int
		say     string
	}{
		{"domain list --data-dir @dir", nil, exitFailed, "yubin serve"},
		{"domain list", []string{"YUBIN_DATA_DIR=@dir", "YUBIN_IMAP_LISTEN=:143"}, exitFailed, "no running system found in @dir"},
		{"domain list --directory-target x:1", nil, exitUsage, "--rpc-ca"},
		{"domain list --rpc-ca x", nil, exitUsage, "--directory-target"},
		{"domain list --data-dir @dir --directory-target x:1", nil, exitUsage, "leave out one or the other"},
		{"domain list --directory-target x:1 --rpc-ca @dir/ca --rpc-cert @dir/cert --rpc-key @dir/key", nil, exitFailed, "@dir/"},
	} {
		dir := t.TempDir()
		var out, errOut bytes.Buffer
		for i := range c.environ {
			c.environ[i] = strings.ReplaceAll(c.environ[i], "@dir", dir)
		}
		a := &app{in: strings.NewReader(""), out: &out, errOut: &errOut, environ: c.environ}
		code := a.execute(t.Context(), strings.Fields(strings.ReplaceAll(c.args, "@dir", dir)))
		if code != c.code || !strings.Contains(errOut.String(), strings.ReplaceAll(c.say, "@dir", dir)) {
			t.Errorf("%s: exit %d, want %d, saying %q:\n%s", c.args, code, c.code, c.say, errOut.String())
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	authority, err := tlsconf.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	files, err := authority.Issue("admin", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := endpoint.Publish(dir, endpoint.Endpoint{Address: "127.0.0.1:1", Files: files}); err != nil {
		t.Fatal(err)
	}
	for args, say := range map[string]string{
		"--data-dir " + dir:                 "cannot reach the service: Error while dialing: dial tcp 127.0.0.1:1",
		"--directory-target 127.0.0.1:1 ":   "cannot reach the service",
		"--quota-target dns:///127.0.0.1:1": "give --directory-target",
	} {
		if strings.Contains(args, "-target") {
			args += " --rpc-ca " + files.CA + " --rpc-cert " + files.Cert + " --rpc-key " + files.Key
		}
		var out, errOut bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, errOut: &errOut}
		if code := a.execute(t.Context(), append([]string{"domain", "list"}, strings.Fields(args)...)); code == exitOK || !strings.Contains(errOut.String(), say) {
			t.Errorf("%s: exit %d, lacks %q:\n%s", args, code, say, errOut.String())
		}
	}
}

func TestTables(t *testing.T) {
	var b bytes.Buffer
	err := writeTable(&b, []column{left("A"), right("B"), left("C")}, [][]string{{"NAME", "SIZE", "X"}, {"日本", "5", "a\x1b[31m\u202eb"}, {"long name", "12345", ""}})
	if err != nil || b.String() != "NAME        SIZE  X\n日本           5  a�[31m�b\nlong name  12345\n" {
		t.Errorf("%v\n%s", err, b.String())
	}
	if got := clip("日本語の件名です", 7); got != "日本語…" {
		t.Errorf("clipped %q", got)
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2h": "2026-03-10T10:00:00Z", "3d": "2026-03-07T12:00:00Z", "2026-03-01": "2026-03-01T00:00:00Z", "2026-03-01T05:06:07+09:00": "2026-02-28T20:06:07Z",
		"yesterday": "", "-2h": "", "0": "", "": "", "d": "",
	} {
		got, err := parseSince(text, now)
		if (err != nil) != (want == "") || want != "" && got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: %v, %v, want %s", text, got, err, want)
		}
	}
}

// writeMbox writes an mbox of so many messages.
func writeMbox(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		b.WriteString("From alice Thu Nov 24 18:22:48 2022\nStatus: RO\nSubject: message " + string(rune('a'+i)) + "\n\nHello\n\n")
	}
	path := filepath.Join(t.TempDir(), "in.mbox")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
