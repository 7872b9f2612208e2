package clients

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"
	"github.com/xdg-go/scram"

	"github.com/yubin-mail/yubin/tests/harness"
)

// fetchFlags gives the flags of all messages of the selected mailbox, one string for all.
func fetchFlags(t *testing.T, c *imapclient.Client) string {
	t.Helper()
	messages, err := c.Fetch(allUIDs(), &imap.FetchOptions{Flags: true}).Collect()
	require.NoError(t, err)
	var out []string
	for _, m := range messages {
		for _, f := range m.Flags {
			out = append(out, string(f))
		}
	}
	return strings.Join(out, " ")
}

// scramClient is a sasl.Client for SCRAM-SHA-256 (RFC 7677).
type scramClient struct {
	conversation *scram.ClientConversation
}

func newSCRAM(t *testing.T, user, password string) *scramClient {
	t.Helper()
	client, err := scram.SHA256.NewClient(user, password, "")
	require.NoError(t, err)
	return &scramClient{client.NewConversation()}
}

func (s *scramClient) Start() (mechanism string, ir []byte, err error) {
	first, err := s.conversation.Step("")
	return "SCRAM-SHA-256", []byte(first), err
}

func (s *scramClient) Next(challenge []byte) ([]byte, error) {
	answer, err := s.conversation.Step(string(challenge))
	return []byte(answer), err
}

// dial connects go-imap's client without logging in.
func dial(t *testing.T, s *harness.System, options *imapclient.Options) *imapclient.Client {
	t.Helper()
	if options == nil {
		options = &imapclient.Options{}
	}
	options.TLSConfig = s.TLS(t)
	c, err := imapclient.DialTLS(s.IMAPS[0], options)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// names gives the mailboxes that LIST answers.
func names(t *testing.T, c *imapclient.Client, ref, pattern string, options *imap.ListOptions) []string {
	t.Helper()
	list, err := c.List(ref, pattern, options).Collect()
	require.NoError(t, err)
	var out []string
	for _, m := range list {
		out = append(out, m.Mailbox)
	}
	return out
}

func TestGoIMAPLongSession(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Accounts: []string{"alice"}})
	expunged := make(chan uint32, 100)
	c := dial(t, s, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{Expunge: func(n uint32) { expunged <- n }}})

	wrong := dial(t, s, nil)
	err := wrong.Authenticate(newSCRAM(t, harness.Address("alice"), "wrong"))
	require.ErrorContains(t, err, "AUTHENTICATIONFAILED")
	proof := newSCRAM(t, harness.Address("alice"), harness.Password)
	require.NoError(t, c.Authenticate(proof))
	require.True(t, proof.conversation.Valid(), "the server proved that it knows the password too")

	t.Run("capabilities, id, namespace, quota", func(t *testing.T) {
		caps, err := c.Capability().Wait()
		require.NoError(t, err)
		for _, want := range []imap.Cap{
			imap.CapIMAP4rev1, imap.CapIMAP4rev2, imap.CapIdle, imap.CapMove, imap.CapUIDPlus, imap.CapESearch, imap.CapSearchRes, imap.CapNamespace,
			imap.CapUnselect, imap.CapEnable, imap.CapSASLIR, imap.CapListExtended, imap.CapListStatus, imap.CapSpecialUse, imap.CapCreateSpecialUse, imap.CapBinary,
			imap.CapStatusSize, imap.CapLiteralPlus, imap.CapID, imap.CapQuota, "QUOTA=RES-STORAGE", imap.CapChildren, imap.CapAppendLimit,
			"QUOTA=RES-MESSAGE",
		} {
			require.True(t, caps.Has(want), "%s", want)
		}
		id, err := c.ID(&imap.IDData{Name: "test"}).Wait()
		require.NoError(t, err)
		require.Equal(t, "Yubin", id.Name)
		ns, err := c.Namespace().Wait()
		require.NoError(t, err)
		require.Equal(t, []imap.NamespaceDescriptor{{Prefix: "", Delim: '/'}}, ns.Personal)
		roots, err := c.GetQuotaRoot("INBOX").Wait()
		require.NoError(t, err)
		require.Len(t, roots, 1)
		require.EqualValues(t, 5_000_000_000/1024, roots[0].Resources[imap.QuotaResourceStorage].Limit)
		quota, err := c.GetQuota(roots[0].Root).Wait()
		require.NoError(t, err)
		require.Equal(t, roots[0].Resources, quota.Resources)
		require.Error(t, c.SetQuota(roots[0].Root, map[imap.QuotaResourceType]int64{imap.QuotaResourceStorage: 1 << 40}).Wait(), "only the operator changes limits")
	})

	t.Run("mailboxes", func(t *testing.T) {
		for _, name := range []string{"Work/2025", "Work/2026", "Private"} {
			require.NoError(t, c.Create(name, nil).Wait())
		}
		require.Error(t, c.Create("Private", nil).Wait(), "it is there already")
		spam := &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrJunk}}
		require.ErrorContains(t, c.Create("Spam", spam).Wait(), "USEATTR", "one mailbox has a use, or clients would not know where to file")
		require.NoError(t, c.Delete("Junk").Wait())
		require.NotContains(t, names(t, c, "", "*", nil), "Junk", "it is subscribed, but not there")
		require.Contains(t, names(t, c, "", "*", &imap.ListOptions{SelectSubscribed: true}), "Junk")
		require.NoError(t, c.Create("Spam", spam).Wait())
		require.ErrorContains(t, c.Create("Important", &imap.CreateOptions{SpecialUse: []imap.MailboxAttr{imap.MailboxAttrImportant}}).Wait(), "USEATTR")
		require.Subset(t, names(t, c, "", "*", nil), []string{"INBOX", "Work", "Work/2025", "Work/2026", "Private", "Sent", "Drafts", "Trash", "Spam", "Archive"})
		require.Equal(t, []string{"Work/2025", "Work/2026"}, names(t, c, "Work/", "%", nil))
		require.Equal(t, []string{"Work/2025", "Work/2026"}, names(t, c, "", "Work/*", nil))
		require.NotContains(t, names(t, c, "", "%", nil), "Work/2025")
		require.Equal(t, []string{"INBOX"}, names(t, c, "", "inbox", nil))
		require.Equal(t, []string{""}, names(t, c, "", "", nil), "RFC 9051 section 6.3.9: the delimiter")

		require.NoError(t, c.Subscribe("Work/2025").Wait())
		subscribed := names(t, c, "", "*", &imap.ListOptions{SelectSubscribed: true})
		require.Contains(t, subscribed, "Work/2025")
		require.NotContains(t, subscribed, "Work/2026")
		require.NoError(t, c.Unsubscribe("Work/2025").Wait())
		require.NotContains(t, names(t, c, "", "*", &imap.ListOptions{SelectSubscribed: true}), "Work/2025")

		list, err := c.List("", "*", &imap.ListOptions{
			ReturnSpecialUse: true, ReturnChildren: true, ReturnSubscribed: true, ReturnStatus: &imap.StatusOptions{NumMessages: true, UIDNext: true, Size: true},
		}).Collect()
		require.NoError(t, err)
		uses := map[imap.MailboxAttr]string{}
		for _, m := range list {
			require.NotNil(t, m.Status, m.Mailbox)
			require.EqualValues(t, 0, *m.Status.NumMessages)
			require.EqualValues(t, 0, *m.Status.Size)
			for _, attr := range m.Attrs {
				uses[attr] += m.Mailbox
			}
			if m.Mailbox == "Work" {
				require.Contains(t, m.Attrs, imap.MailboxAttrHasChildren)
			}
		}
		for attr, name := range map[imap.MailboxAttr]string{
			imap.MailboxAttrSent: "Sent", imap.MailboxAttrDrafts: "Drafts", imap.MailboxAttrTrash: "Trash", imap.MailboxAttrJunk: "Spam",
			imap.MailboxAttrArchive: "Archive",
		} {
			require.Equal(t, name, uses[attr])
		}
		require.ElementsMatch(t, []string{"Sent", "Drafts", "Trash", "Spam", "Archive"}, names(t, c, "", "*", &imap.ListOptions{SelectSpecialUse: true}))

		require.NoError(t, c.Rename("Work", "Job", nil).Wait())
		require.Equal(t, []string{"Job", "Job/2025", "Job/2026"}, names(t, c, "", "Job*", nil), "children move with it")
		require.NoError(t, c.Delete("Job/2025").Wait())
		require.Error(t, c.Delete("Job/2025").Wait())
		require.Error(t, c.Delete("INBOX").Wait())
	})

	var first imap.UID
	t.Run("append, status, select, fetch", func(t *testing.T) {
		date := time.Date(2020, 2, 29, 12, 34, 56, 0, time.FixedZone("", 9*3600))
		plain := letter("plain", "Plain", "hello")
		data := appendMessage(t, c, "Private", plain, &imap.AppendOptions{Flags: []imap.Flag{imap.FlagSeen, "$Label1"}, Time: date})
		first = data.UID
		require.EqualValues(t, 1, first, "APPENDUID")
		picture := bytes.Repeat([]byte("\x00\x01\xfeJPEG\r\n"), 400)
		multi := withAttachment("With a picture", "See below.", `filename="picture.bin"`, picture)
		require.EqualValues(t, 2, appendMessage(t, c, "Private", multi, nil).UID)
		status, err := c.Status("Private", &imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true, NumUnseen: true, Size: true}).Wait()
		require.NoError(t, err)
		require.EqualValues(t, 2, *status.NumMessages)
		require.EqualValues(t, 1, *status.NumUnseen)
		require.EqualValues(t, len(plain)+len(multi), *status.Size)
		require.Equal(t, data.UIDValidity, status.UIDValidity)
		require.EqualValues(t, 3, status.UIDNext)

		selected, err := c.Select("Private", nil).Wait()
		require.NoError(t, err)
		require.EqualValues(t, 2, selected.NumMessages)
		require.Equal(t, status.UIDValidity, selected.UIDValidity)
		require.Contains(t, selected.PermanentFlags, imap.FlagWildcard)
		require.Contains(t, selected.Flags, imap.Flag("$Label1"))

		whole, header := &imap.FetchItemBodySection{Peek: true}, &imap.FetchItemBodySection{Peek: true, Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"Subject"}}
		part := &imap.FetchItemBodySection{Peek: true, Part: []int{2}, Partial: &imap.SectionPartial{Offset: 4, Size: 8}}
		decoded, size := &imap.FetchItemBinarySection{Part: []int{2}, Peek: true}, &imap.FetchItemBinarySectionSize{Part: []int{2}}
		messages, err := c.Fetch(allUIDs(), &imap.FetchOptions{
			UID: true, Flags: true, InternalDate: true, RFC822Size: true, Envelope: true, BodyStructure: &imap.FetchItemBodyStructure{Extended: true},
			BodySection: []*imap.FetchItemBodySection{whole, header},
		}).Collect()
		require.NoError(t, err)
		require.Len(t, messages, 2)
		require.Equal(t, plain, messages[0].FindBodySection(whole))
		require.Equal(t, "Subject: Plain\r\n\r\n", string(messages[0].FindBodySection(header)))
		require.True(t, date.Equal(messages[0].InternalDate), messages[0].InternalDate)
		require.EqualValues(t, len(plain), messages[0].RFC822Size)
		require.Equal(t, "Plain", messages[0].Envelope.Subject)
		require.Equal(t, "sender@elsewhere.example", messages[0].Envelope.From[0].Addr())
		require.Equal(t, "plain@elsewhere.example", messages[0].Envelope.MessageID)
		require.ElementsMatch(t, []imap.Flag{imap.FlagSeen, "$Label1"}, messages[0].Flags)
		require.Equal(t, multi, messages[1].FindBodySection(whole))
		require.Equal(t, "multipart/mixed", messages[1].BodyStructure.MediaType())

		messages, err = c.Fetch(imap.UIDSetNum(2), &imap.FetchOptions{
			UID: true, BodySection: []*imap.FetchItemBodySection{part}, BinarySection: []*imap.FetchItemBinarySection{decoded}, BinarySectionSize: []*imap.FetchItemBinarySectionSize{size},
		}).Collect()
		require.NoError(t, err)
		require.Len(t, messages[0].FindBodySection(part), 8)
		require.Equal(t, picture, messages[0].FindBinarySection(decoded), "BINARY decodes base64")
		n, ok := messages[0].FindBinarySectionSize(size.Part)
		require.True(t, ok)
		require.EqualValues(t, len(picture), n)
		require.NotContains(t, fetchFlagsOf(t, c, 2), imap.FlagSeen, "peeking does not mark it as read")
		_, err = c.Fetch(imap.UIDSetNum(2), &imap.FetchOptions{BodySection: []*imap.FetchItemBodySection{{}}}).Collect()
		require.NoError(t, err)
		require.Contains(t, fetchFlagsOf(t, c, 2), imap.FlagSeen, "reading does")
	})

	t.Run("search", func(t *testing.T) {
		uids := func(criteria *imap.SearchCriteria) []imap.UID {
			t.Helper()
			data, err := c.UIDSearch(criteria, nil).Wait()
			require.NoError(t, err)
			return data.AllUIDs()
		}
		require.Equal(t, []imap.UID{1}, uids(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: "plAIN"}}}))
		require.Equal(t, []imap.UID{1}, uids(&imap.SearchCriteria{Flag: []imap.Flag{"$Label1"}}))
		require.Equal(t, []imap.UID{2}, uids(&imap.SearchCriteria{NotFlag: []imap.Flag{"$Label1"}}))
		require.Equal(t, []imap.UID{2}, uids(&imap.SearchCriteria{Larger: 1000}))
		require.Equal(t, []imap.UID{1}, uids(&imap.SearchCriteria{Before: time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)}))
		require.Equal(t, []imap.UID{1}, uids(&imap.SearchCriteria{Body: []string{"HELLO"}}))
		require.Equal(t, []imap.UID{1, 2}, uids(&imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{{Body: []string{"hello"}}, {Larger: 1000}}}}))
		require.Empty(t, uids(&imap.SearchCriteria{Text: []string{"not there"}}))
		data, err := c.UIDSearch(&imap.SearchCriteria{}, &imap.SearchOptions{ReturnMin: true, ReturnMax: true, ReturnCount: true, ReturnAll: true}).Wait()
		require.NoError(t, err)
		require.EqualValues(t, 1, data.Min)
		require.EqualValues(t, 2, data.Max)
		require.EqualValues(t, 2, data.Count)
		require.Equal(t, "1:2", data.All.String())
	})

	t.Run("copy, move, store, expunge", func(t *testing.T) {
		copied, err := c.Copy(allUIDs(), "Archive").Wait()
		require.NoError(t, err)
		require.Equal(t, "1:2", copied.SourceUIDs.String())
		require.Equal(t, "1:2", copied.DestUIDs.String(), "COPYUID")
		_, err = c.Copy(allUIDs(), "Nowhere").Wait()
		require.ErrorContains(t, err, "TRYCREATE")
		moved, err := c.Move(imap.UIDSetNum(1), "Job/2026").Wait()
		require.NoError(t, err)
		require.Equal(t, "1", moved.SourceUIDs.(imap.UIDSet).String())
		require.EqualValues(t, 1, <-expunged)
		for range 3 {
			appendMessage(t, c, "Private", letter("x", "x", "x"), &imap.AppendOptions{Flags: []imap.Flag{imap.FlagDeleted}})
		}
		got, err := c.UIDExpunge(imap.UIDSetNum(3)).Collect()
		require.NoError(t, err)
		require.Equal(t, []uint32{2}, got, "only the one that UID EXPUNGE names")
		_, err = c.Store(allUIDs(), &imap.StoreFlags{Op: imap.StoreFlagsDel, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Collect()
		require.NoError(t, err)
		require.NotContains(t, fetchFlags(t, c), `\Deleted`)
		_, err = c.Store(allUIDs(), &imap.StoreFlags{Op: imap.StoreFlagsSet, Flags: []imap.Flag{imap.FlagDeleted, "Later"}}, nil).Collect()
		require.NoError(t, err)
		require.NoError(t, c.Unselect().Wait())
		require.Len(t, text(t, c, "Private"), 3, "UNSELECT leaves what is marked as deleted")
		_, err = c.Select("Private", nil).Wait()
		require.NoError(t, err)
		require.NoError(t, c.UnselectAndExpunge().Wait())
		require.Empty(t, text(t, c, "Private"), "CLOSE does not")
		require.NoError(t, c.Unselect().Wait())
	})

	t.Run("rev2, idle", func(t *testing.T) {
		enabled, err := c.Enable(imap.CapIMAP4rev2).Wait()
		require.NoError(t, err)
		require.True(t, enabled.Caps.Has(imap.CapIMAP4rev2))
		_, err = c.Select("INBOX", nil).Wait()
		require.NoError(t, err)
		idle, err := c.Idle()
		require.NoError(t, err)
		require.NoError(t, idle.Close())
		require.NoError(t, idle.Wait())
		require.NoError(t, c.Create("手紙/日本 and more", nil).Wait())
		require.Contains(t, names(t, c, "", "手紙/%", nil), "手紙/日本 and more")
		require.NoError(t, c.Noop().Wait())
		require.NoError(t, c.Logout().Wait())
	})
}

// fetchFlagsOf gives the flags of one message.
func fetchFlagsOf(t *testing.T, c *imapclient.Client, uid imap.UID) []imap.Flag {
	t.Helper()
	messages, err := c.Fetch(imap.UIDSetNum(uid), &imap.FetchOptions{Flags: true}).Collect()
	require.NoError(t, err)
	require.Len(t, messages, 1)
	return slices.Clone(messages[0].Flags)
}
