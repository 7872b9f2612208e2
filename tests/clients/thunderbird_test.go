package clients

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// thunderbird says what Thunderbird 115 to 140 say (mailnews/imap/src/nsImapProtocol.cpp), with the same spelling, and keeps what they
// keep: of each folder the messages' flags, headers and bodies, and the modification sequence up to which it knows them.
type thunderbird struct {
	*conversation
	offered  map[string]bool
	utf8     bool // UTF8=ACCEPT is enabled
	folders  map[string]*tbFolder
	selected *tbFolder
	listed   map[string]string // attributes of the last discovery
	status   []string          // answers to STATUS
	found    []string          // the last SEARCH
	quota    []string
}

// tbFolder is a folder as Thunderbird has it on disk, and the session's view of it while it is selected.
type tbFolder struct {
	name     string
	validity string
	modseq   string // known up to here; of SELECT
	highest  string // HIGHESTMODSEQ, as SELECT said
	exists   int    // as of the last update
	messages map[uint32]*tbMessage
	seq      []uint32 // UIDs by sequence number, 0 if not known
}

type tbMessage struct {
	flags        string
	header, body string
	size         int
}

// headerFields is IMAP_DB_HEADERS with the fields of the envelope.
const headerFields = "From To Cc Bcc Subject Date Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To"

// chunk is mail.imap.chunk_size at the start.
const chunk = 65536

// startThunderbird connects and does what happens before the first folder is opened. files are the folders that it has on disk.
func startThunderbird(t *testing.T, s *harness.System, name string, files map[string]*tbFolder, compress, utf8 bool) *thunderbird {
	t.Helper()
	b := &thunderbird{conversation: talk(t, s.IMAP[0]), folders: files}
	b.hear = b.heard
	b.ok("capability")
	require.True(t, b.offered["STARTTLS"])
	b.startTLS(s)
	b.ok("capability")
	b.authenticate(name)
	b.ok("capability")
	b.ok("namespace")
	if compress {
		require.True(t, b.offered["COMPRESS=DEFLATE"])
		b.compress()
	}
	b.ok("ENABLE CONDSTORE")
	b.ok(`ID ("name" "Thunderbird" "version" "140.0")`)
	if utf8 {
		b.ok("ENABLE UTF8=ACCEPT")
		b.utf8 = true
	}
	b.discover()
	return b
}

// discover is DiscoverMailboxList.
func (b *thunderbird) discover() {
	b.t.Helper()
	b.listed = map[string]string{}
	b.ok(`list (subscribed) "" "*" return (special-use)`)
	b.ok(`list "" "INBOX"`)
	for name := range b.listed {
		if b.offered["ACL"] {
			b.rights(name)
		}
	}
}

// rights is RefreshACLForFolder.
func (b *thunderbird) rights(folder string) {
	b.t.Helper()
	b.ok(`myrights "%s"`, folder)
	b.ok(`getacl "%s"`, folder)
}

var (
	listLine    = regexp.MustCompile(`^\* LIST \(([^)]*)\) "/" (?:"([^"]+)"|([^ "]+))`)
	numberLine  = regexp.MustCompile(`^\* (\d+) (EXISTS|EXPUNGE|RECENT)$`)
	fetchLine   = regexp.MustCompile(`^\* (\d+) FETCH \((.*)\)$`)
	uidItem     = regexp.MustCompile(`\bUID (\d+)`)
	flagsItem   = regexp.MustCompile(`\bFLAGS \(([^)]*)\)`)
	sizeItem    = regexp.MustCompile(`\bRFC822\.SIZE (\d+)`)
	sectionItem = regexp.MustCompile(`\bBODY\[([^\]]*)\](?:<\d+>)? (?:\{#(\d+)\}|"")`)
	codeLine    = regexp.MustCompile(`^\* OK \[(UIDVALIDITY|HIGHESTMODSEQ) (\d+)\]`)
)

// heard is nsImapServerResponseParser.
func (b *thunderbird) heard(a answer) {
	b.t.Helper()
	switch f := b.selected; {
	case strings.HasPrefix(a.line, "* CAPABILITY "):
		b.offered = map[string]bool{}
		for _, name := range strings.Fields(a.line)[2:] {
			b.offered[name] = true
		}
	case strings.HasPrefix(a.line, "* STATUS "):
		b.status = append(b.status, a.line)
	case strings.HasPrefix(a.line, "* SEARCH"):
		b.found = strings.Fields(strings.TrimPrefix(a.line, "* SEARCH"))
	case strings.HasPrefix(a.line, "* QUOTA "):
		b.quota = append(b.quota, a.line)
	case listLine.MatchString(a.line):
		m := listLine.FindStringSubmatch(a.line)
		b.listed[m[2]+m[3]] = m[1]
	case f == nil:
	case codeLine.MatchString(a.line):
		m := codeLine.FindStringSubmatch(a.line)
		if m[1] == "UIDVALIDITY" {
			if f.validity != m[2] {
				f.messages, f.modseq, f.exists = map[uint32]*tbMessage{}, "", 0
			}
			f.validity = m[2]
		} else {
			f.highest = m[2]
		}
	case numberLine.MatchString(a.line):
		m := numberLine.FindStringSubmatch(a.line)
		n, err := strconv.Atoi(m[1])
		require.NoError(b.t, err)
		switch m[2] {
		case "EXISTS":
			require.GreaterOrEqual(b.t, n, len(f.seq), "EXISTS never goes down")
			f.seq = append(f.seq, make([]uint32, n-len(f.seq))...)
		case "EXPUNGE":
			require.LessOrEqual(b.t, n, len(f.seq), a.line)
			delete(f.messages, f.seq[n-1])
			f.seq = slices.Delete(f.seq, n-1, n)
		}
	case fetchLine.MatchString(a.line):
		b.fetched(f, a)
	}
}

// fetched takes an answer to FETCH, or one that comes by itself.
func (b *thunderbird) fetched(f *tbFolder, a answer) {
	b.t.Helper()
	m := fetchLine.FindStringSubmatch(a.line)
	n, err := strconv.Atoi(m[1])
	require.NoError(b.t, err)
	require.LessOrEqual(b.t, n, len(f.seq), a.line)
	if uid := uidItem.FindStringSubmatch(m[2]); uid != nil {
		v, err := strconv.ParseUint(uid[1], 10, 32)
		require.NoError(b.t, err)
		if known := f.seq[n-1]; known != 0 {
			require.EqualValues(b.t, known, v, "message %d has another UID now: %s", n, a.line)
		}
		f.seq[n-1] = uint32(v)
	}
	uid := f.seq[n-1]
	if uid == 0 {
		return // it will be fetched with what is new
	}
	msg := f.messages[uid]
	if msg == nil {
		msg = &tbMessage{}
		f.messages[uid] = msg
	}
	if flags := flagsItem.FindStringSubmatch(m[2]); flags != nil {
		all := slices.DeleteFunc(strings.Fields(flags[1]), func(s string) bool { return s == `\Recent` })
		slices.Sort(all)
		msg.flags = strings.Join(all, " ")
	}
	if size := sizeItem.FindStringSubmatch(m[2]); size != nil {
		msg.size, err = strconv.Atoi(size[1])
		require.NoError(b.t, err)
	}
	if section := sectionItem.FindStringSubmatch(m[2]); section != nil {
		text := ""
		if section[2] != "" {
			i, err := strconv.Atoi(section[2])
			require.NoError(b.t, err)
			text = a.literals[i]
		}
		switch {
		case section[1] == "":
			msg.body += text // in chunks
		case msg.header == "": // not a preview
			msg.header = text
		}
	}
}

// open is SelectMailbox and what belongs to it. It synchronises the folder.
func (b *thunderbird) open(folder string) *tbFolder {
	b.t.Helper()
	f := b.folders[folder]
	if f == nil {
		f = &tbFolder{name: folder, messages: map[uint32]*tbMessage{}}
		b.folders[folder] = f
	}
	f.seq, f.highest, b.selected = nil, "", f
	b.ok(`select "%s" (CONDSTORE)`, folder)
	if b.offered["ACL"] {
		b.rights(folder)
	}
	b.update(f)
	return f
}

// update is ProcessMailboxUpdate, then autosync: whatever is there is fetched for reading offline.
func (b *thunderbird) update(f *tbFolder) {
	b.t.Helper()
	b.ok(`getquotaroot "%s"`, f.name)
	if len(f.seq) > 0 {
		b.updateFlags(f)
	} else {
		clear(f.messages)
	}
	f.modseq, f.exists = f.highest, len(f.seq)
	if set := f.lacking(func(m *tbMessage) bool { return m.header == "" }); set != "" {
		b.ok("UID fetch %s (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (%s)])", set, headerFields)
	}
	if set := f.lacking(func(m *tbMessage) bool { return m.body == "" }); set != "" {
		b.ok("UID fetch %s (UID RFC822.SIZE BODY.PEEK[])", set)
	}
	for uid, m := range f.messages {
		require.Len(b.t, m.body, m.size, "RFC822.SIZE of %d", uid)
	}
}

// updateFlags learns of new messages, changed flags and removed messages.
func (b *thunderbird) updateFlags(f *tbFolder) {
	b.t.Helper()
	var last uint32
	for uid := range f.messages {
		last = max(last, uid)
	}
	switch {
	case last == 0:
		b.ok("UID fetch 1:* (FLAGS)")
	case f.highest != f.modseq:
		before := len(f.messages)
		b.ok("UID fetch 1:* (FLAGS) (CHANGEDSINCE %s)", f.modseq)
		if added := len(f.messages) - before; added != len(f.seq)-f.exists {
			// Somebody has removed something: the flags of all.
			f.forget(func() { b.ok("UID fetch 1:* (FLAGS)") })
		}
	default:
		b.ok("UID fetch %d:* (FLAGS)", last+1)
	}
}

// forget drops the messages that a fetch of all does not mention.
func (f *tbFolder) forget(fetch func()) {
	f.seq = make([]uint32, len(f.seq))
	fetch()
	maps.DeleteFunc(f.messages, func(uid uint32, _ *tbMessage) bool { return !slices.Contains(f.seq, uid) })
}

// lacking gives a set of UIDs, or "".
func (f *tbFolder) lacking(what func(*tbMessage) bool) string {
	var uids []uint32
	for uid, m := range f.messages {
		if what(m) {
			uids = append(uids, uid)
		}
	}
	return set(uids)
}

// set writes UIDs as AllocateImapUidString does, with ranges.
func set(uids []uint32) string {
	slices.Sort(uids)
	var out []string
	for i := 0; i < len(uids); {
		k := i
		for k+1 < len(uids) && uids[k+1] == uids[k]+1 {
			k++
		}
		if k > i {
			out = append(out, fmt.Sprintf("%d:%d", uids[i], uids[k]))
		} else {
			out = append(out, fmt.Sprint(uids[i]))
		}
		i = k + 1
	}
	return strings.Join(out, ",")
}

// uid is the UID of the message with a subject.
func (b *thunderbird) uid(f *tbFolder, subject string) uint32 {
	b.t.Helper()
	for uid, m := range f.messages {
		if strings.Contains(m.header, "Subject: "+subject+"\r\n") {
			return uid
		}
	}
	b.t.Fatalf("%s has no message %q", f.name, subject)
	return 0
}

// move is Copy, which a folder on disk follows: its messages go.
func (b *thunderbird) move(folder string, uids ...uint32) {
	b.t.Helper()
	b.ok(`uid move %s "%s"`, set(uids), folder)
	for _, uid := range uids {
		delete(b.selected.messages, uid)
	}
}

// remove is Copy where the server has no MOVE.
func (b *thunderbird) remove(folder string, uid uint32) {
	b.t.Helper()
	b.ok(`uid copy %d "%s"`, uid, folder)
	b.ok(`uid store %d +FLAGS (\Deleted \Seen)`, uid)
	b.ok("UID EXPUNGE %d", uid)
	delete(b.selected.messages, uid)
}

// rename is RenameHierarchyByHand: subscriptions follow the folder and its children.
func (b *thunderbird) rename(from, to string, children ...string) {
	b.t.Helper()
	b.ok(`list "" "%s/*"`, from)
	b.ok(`rename "%s" "%s"`, from, to)
	for _, child := range append([]string{""}, children...) {
		b.ok(`subscribe "%s"`, to+child)
		b.ok(`unsubscribe "%s"`, from+child)
	}
}

var appendUID = regexp.MustCompile(`^OK \[APPENDUID (\d+) (\d+)\]`)

// upload is UploadMessageFromFile. It gives the UID.
func (b *thunderbird) upload(folder, flags string, message []byte) string {
	b.t.Helper()
	b.tag++
	if b.utf8 {
		b.send(fmt.Sprintf("%d append \"%s\" (%s) \"01-Mar-2026 12:00:00 +0000\" UTF8 (~{%d+}\r\n", b.tag, folder, flags, len(message)))
	} else {
		b.send(fmt.Sprintf("%d append \"%s\" (%s) \"01-Mar-2026 12:00:00 +0000\" {%d+}\r\n", b.tag, folder, flags, len(message)))
	}
	for piece := range slices.Chunk(message, 8192) { // COPY_BUFFER_SIZE
		b.send(string(piece))
	}
	if b.utf8 {
		b.send(")")
	}
	b.send("\r\n")
	m := appendUID.FindStringSubmatch(b.end())
	require.NotNil(b.t, m)
	if f := b.selected; f != nil && f.name == folder {
		require.Equal(b.t, f.validity, m[1])
		b.ok("noop")
	}
	return m[2]
}

// read displays a message, in chunks if it is large.
func (b *thunderbird) read(uid uint32) string {
	b.t.Helper()
	m := b.selected.messages[uid]
	m.body = ""
	if m.size <= chunk*3/2 {
		b.ok("UID fetch %d (UID RFC822.SIZE BODY[])", uid)
		return m.body
	}
	for start := 0; ; start += chunk {
		before := len(m.body)
		b.ok("UID fetch %d (UID RFC822.SIZE BODY[]<%d.%d>)", uid, start, chunk)
		if len(m.body)-before < chunk {
			return m.body
		}
	}
}

// idle waits for what happens on the server, until done has become true.
func (b *thunderbird) idle(happen func(), done func() bool) {
	b.t.Helper()
	b.tag++
	b.send(fmt.Sprintf("%d IDLE\r\n", b.tag))
	b.wait("+")
	happen()
	for !done() {
		a := b.read1()
		b.heard(a)
	}
	b.send("DONE\r\n")
	require.Regexp(b.t, "^OK", b.end())
	b.update(b.selected)
}

// read1 reads one untagged answer.
func (b *thunderbird) read1() answer {
	b.t.Helper()
	a := b.conversation.read()
	require.True(b.t, strings.HasPrefix(a.line, "* "), a.line)
	return a
}

// same compares what Thunderbird has of a folder with what is there.
func (b *thunderbird) same(c *imapclient.Client, folder string) {
	b.t.Helper()
	_, err := c.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait()
	require.NoError(b.t, err)
	whole := &imap.FetchItemBodySection{Peek: true}
	messages, err := c.Fetch(allUIDs(), &imap.FetchOptions{UID: true, Flags: true, BodySection: []*imap.FetchItemBodySection{whole}}).Collect()
	require.NoError(b.t, err)
	want, got := map[uint32]string{}, map[uint32]string{}
	for _, m := range messages {
		var flags []string
		for _, f := range m.Flags {
			flags = append(flags, string(f))
		}
		slices.Sort(flags)
		want[uint32(m.UID)] = digest(strings.Join(flags, " "), string(m.FindBodySection(whole)))
	}
	for uid, m := range b.folders[folder].messages {
		got[uid] = digest(m.flags, m.body)
	}
	require.Equal(b.t, want, got, folder)
}

// digest of a message, short enough to be shown.
func digest(flags, body string) string {
	return fmt.Sprintf("%s %d octets %.10x", flags, len(body), sha256.Sum256([]byte(body)))
}
