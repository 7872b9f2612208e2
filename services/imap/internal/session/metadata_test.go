package session

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// annotated gives the key of a mailbox, with 0 for the account itself.
func (s *memory) annotated(account, name string) (view.Key, error) {
	if name == "" {
		return view.Key{Account: account}, nil
	}
	b, err := s.at(account, name)
	if err != nil {
		return view.Key{}, err
	}
	return view.Key{Account: account, Mailbox: b.info.GetMailboxId()}, nil
}

var errEntry = fault.New(codes.InvalidArgument, rpcv1.Reason_REASON_INVALID, "that is no annotation")

func (s *memory) GetMetadata(_ context.Context, r *storagev1.GetMetadataRequest) (*storagev1.GetMetadataResponse, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	id, err := s.annotated(whose(r), r.GetMailbox())
	if err != nil {
		return nil, err
	}
	answer := &storagev1.GetMetadataResponse{}
	for mailbox := range s.metadata {
		if mailbox.Account != whose(r) || r.GetAllMailboxes() && mailbox.Mailbox == 0 || !r.GetAllMailboxes() && mailbox != id {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(s.metadata[mailbox])) {
			wanted := slices.ContainsFunc(r.GetEntries(), func(want string) bool {
				rest, ok := strings.CutPrefix(name, strings.ToLower(want))
				return ok && (rest == "" || rest[0] == '/') && (r.GetDepth() == storagev1.GetMetadataRequest_DEPTH_INFINITY || strings.Count(rest, "/") <= int(r.GetDepth()))
			})
			if wanted {
				answer.Entries = append(answer.Entries, &storagev1.GetMetadataResponse_Entry{MailboxId: mailbox.Mailbox, Name: name, Value: s.metadata[mailbox][name]})
			}
		}
	}
	for _, e := range r.GetEntries() {
		if !strings.HasPrefix(e, "/") {
			return nil, errEntry
		}
	}
	return answer, nil
}

// SetMetadata takes three annotations of a mailbox.
func (s *memory) SetMetadata(_ context.Context, r *storagev1.SetMetadataRequest) (*storagev1.SetMetadataResponse, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	id, err := s.annotated(whose(r), r.GetMailbox())
	if err != nil {
		return nil, err
	}
	next := maps.Clone(s.metadata[id])
	if next == nil {
		next = map[string][]byte{}
	}
	for _, c := range r.GetChanges() {
		switch {
		case !strings.HasPrefix(c.GetName(), "/"):
			return nil, errEntry
		case c.Value == nil:
			delete(next, strings.ToLower(c.GetName()))
		default:
			next[strings.ToLower(c.GetName())] = c.GetValue()
		}
	}
	if len(next) > 3 {
		return nil, fault.New(codes.ResourceExhausted, rpcv1.Reason_REASON_LIMIT, "there are too many annotations")
	}
	if s.metadata == nil {
		s.metadata = map[view.Key]map[string][]byte{}
	}
	s.metadata[id] = next
	return &storagev1.SetMetadataResponse{}, nil
}

// TestMetadata has the examples of RFC 5464 sections 4.2 to 4.4.
func TestMetadata(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.send("a SETMETADATA INBOX (/private/comment {33}\r\n")
	if line := k.line(); line != "+ OK" {
		t.Fatalf("continuation is %q", line)
	}
	k.send("My new comment across\r\ntwo lines.)\r\n")
	if line := k.line(); line != "a OK SETMETADATA completed" {
		t.Fatalf("got %q", line)
	}
	k.expect(`GETMETADATA "INBOX" /private/comment`, "* METADATA INBOX (/private/comment {33}", "My new comment across", "two lines.)", "OK GETMETADATA completed")
	k.expect(`SETMETADATA INBOX (/private/comment "My own comment" /shared/comment "This one is for you!")`, "OK SETMETADATA completed")
	k.expect(`GETMETADATA "INBOX" (/shared/comment /private/comment)`,
		`* METADATA INBOX (/shared/comment "This one is for you!" /private/comment "My own comment")`, "OK")
	k.expect(`GETMETADATA "INBOX" /private/comment /shared/comment`,
		`* METADATA INBOX (/private/comment "My own comment" /shared/comment "This one is for you!")`, "OK")
	k.ok("SETMETADATA INBOX (/shared/comment {2199+}\r\n%s)", strings.Repeat("x", 2199))
	for _, command := range []string{
		`GETMETADATA "INBOX" (MAXSIZE 1024) (/shared/comment /private/comment)`,
		`GETMETADATA (MAXSIZE 1024) "INBOX" (/shared/comment /private/comment)`,
		`GETMETADATA (maxsize 1024 DEPTH 0) inbox (/shared/comment /private/comment)`,
	} {
		k.expect(command, `* METADATA INBOX (/private/comment "My own comment")`, "OK [METADATA LONGENTRIES 2199] GETMETADATA completed")
	}
	k.expect(`SETMETADATA INBOX (/private/comment NIL /shared/comment NIL)`, "OK")
	k.expect(`GETMETADATA INBOX /Private/comment`, "* METADATA INBOX (/Private/comment NIL)", "OK")
	k.ok(`SETMETADATA INBOX (/private/filters/values/small "SMALLER 5000" /private/filters/values/boss "FROM \"boss@example.com\"")`)
	k.expect(`GETMETADATA "INBOX" (DEPTH 1) (/private/filters/values)`,
		`* METADATA INBOX (/private/filters/values/boss "FROM \"boss@example.com\"" /private/filters/values/small "SMALLER 5000")`, "OK")
	k.expect(`GETMETADATA (DEPTH 1) "INBOX" /private/filters`, "OK GETMETADATA completed")
	k.expect(`GETMETADATA (MAXSIZE 12 DEPTH infinity) "INBOX" /private`, `* METADATA INBOX (/private/filters/values/small "SMALLER 5000")`, "OK [METADATA LONGENTRIES 23]")
	k.ok(`SETMETADATA INBOX (/private/comment "")`)
	k.expect(`SETMETADATA INBOX (/private/x "My new comment")`, "NO [METADATA TOOMANY]")
	// The server.
	k.expect(`SETMETADATA "" (/private/comment "mine")`, "OK")
	k.expect(`GETMETADATA "" (/shared/comment /private/comment)`, `* METADATA "" (/shared/comment NIL /private/comment "mine")`, "OK")
	k.expect(`SETMETADATA "" (/Shared/comment "x")`, "NO [NOPERM]")
	// What is binary, and what is not ASCII.
	k.ok("SETMETADATA Sent (/private/comment ~{3+}\r\na\x00b /private/x {3+}\r\n日)")
	k.expect(`GETMETADATA Sent /private/comment`, "* METADATA Sent (/private/comment ~{3}", "a\x00b)", "OK")
	k.expect(`GETMETADATA Sent /private/x`, "* METADATA Sent (/private/x {3}", "日)", "OK")
	k.ok("ENABLE UTF8=ACCEPT")
	k.expect(`GETMETADATA Sent /private/x`, `* METADATA Sent (/private/x "日")`, "OK")
	k.ok("SELECT Sent")
	k.expect(`GETMETADATA Sent (/private/x /PRIVATE/X)`, `* METADATA Sent (/private/x "日")`, "OK")
}

func TestMetadataRefused(t *testing.T) {
	g := newGateway(t)
	k := g.connect()
	k.expect(`GETMETADATA "" /private/comment`, "BAD [CLIENTBUG] log in first")
	k.ok("LOGIN alice secret")
	k.expect(`GETMETADATA Nowhere /private/comment`, "NO [NONEXISTENT]")
	k.expect(`SETMETADATA Nowhere (/private/comment "x")`, "NO [NONEXISTENT]")
	for _, command := range []string{
		"GETMETADATA", "GETMETADATA INBOX", "GETMETADATA INBOX ()", "GETMETADATA INBOX comment", "GETMETADATA (DEPTH 2) INBOX /private", "GETMETADATA (DEPTH) INBOX /private",
		"GETMETADATA (SIZE 1) INBOX /private", "GETMETADATA (MAXSIZE x) INBOX /private", "GETMETADATA INBOX (DEPTH 1)", "GETMETADATA INBOX (/private/x) more",
	} {
		k.expect(command, "BAD ")
		k.ok("NOOP")
	}
	for _, command := range []string{
		"SETMETADATA INBOX", "SETMETADATA INBOX ()", "SETMETADATA INBOX (/private/x)", `SETMETADATA INBOX (comment "x")`, "SETMETADATA INBOX (/private/x y)",
		"SETMETADATA INBOX (/private/x {3+}\r\na\x00b)", "SETMETADATA INBOX (/private/x ~NIL)", `SETMETADATA INBOX /private/x "x"`,
	} {
		k.expect(command, "BAD ")
		k.ok("NOOP")
	}
	// Refused before it is sent, or skipped.
	k.expect("SETMETADATA INBOX (/private/x {65537}", "NO [METADATA MAXSIZE 65536]")
	k.expect(fmt.Sprintf("SETMETADATA INBOX (/private/x ~{65537+}\r\n%s)", strings.Repeat("x", 65537)), "NO [METADATA MAXSIZE 65536]")
	k.ok("SETMETADATA INBOX (/private/x {65536+}\r\n%s)", strings.Repeat("x", 65536))
	g.storage.setDown(true)
	k.expect("GETMETADATA INBOX /private/x", "NO [UNAVAILABLE]")
	k.expect(`LIST "" % RETURN (METADATA (/private/x))`, "NO [UNAVAILABLE]")
}

// TestListMetadata has the examples of RFC 9590 section 4.
func TestListMetadata(t *testing.T) {
	g := newGateway(t)
	k := g.login()
	k.ok("CREATE foo")
	k.ok("CREATE foo/bar")
	for _, name := range []string{"Sent", "Trash"} {
		k.ok("DELETE %s", name)
		k.ok("UNSUBSCRIBE %s", name)
	}
	k.ok("SUBSCRIBE foo/bar")
	k.ok("SUBSCRIBE gone")
	k.ok(`SETMETADATA INBOX (/shared/vendor/cmu/cyrus-imapd/color "#b71c1c")`)
	k.expect(`LIST "" % RETURN (METADATA ("/shared/vendor/cmu/cyrus-imapd/color"))`,
		`* LIST (\HasNoChildren) "/" INBOX`,
		`* METADATA INBOX (/shared/vendor/cmu/cyrus-imapd/color "#b71c1c")`,
		`* LIST (\HasChildren) "/" foo`,
		`* METADATA foo (/shared/vendor/cmu/cyrus-imapd/color NIL)`, "OK LIST completed")
	k.expect(`LIST (SUBSCRIBED RECURSIVEMATCH) "" % RETURN (METADATA ("/shared/vendor/cmu/cyrus-imapd/color"))`,
		`* LIST (\Subscribed \HasNoChildren) "/" INBOX`,
		`* METADATA INBOX (/shared/vendor/cmu/cyrus-imapd/color "#b71c1c")`,
		`* LIST (\HasChildren) "/" foo ("CHILDINFO" ("SUBSCRIBED"))`,
		`* LIST (\NonExistent \Subscribed \HasNoChildren) "/" gone`, "OK LIST completed")
	k.expect(`LIST "" INBOX RETURN (STATUS (MESSAGES) METADATA (DEPTH infinity MAXSIZE 3) /shared)`,
		`* LIST (\HasNoChildren) "/" INBOX`, "* STATUS INBOX (MESSAGES 0)", "OK [METADATA LONGENTRIES 7] LIST completed")
	k.expect(`LIST "" * RETURN (METADATA (color))`, "BAD ")
	k.expect(`LIST "" * RETURN (METADATA)`, "BAD ")
	k.expect(`LIST "" * RETURN (METADATA ())`, "BAD ")
}
