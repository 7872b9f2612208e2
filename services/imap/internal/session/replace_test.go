package session

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// Replace implements storagev1.StorageServiceServer.
func (s *memory) Replace(stream grpc.ClientStreamingServer[storagev1.ReplaceRequest, storagev1.ReplaceResponse]) error {
	var target *storagev1.ReplaceRequest_Target
	var start *storagev1.AppendRequest_Message
	var body []byte
	for committed := false; ; {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) && committed {
			break
		}
		if err != nil {
			return err
		}
		switch m := req.GetMessage().(type) {
		case *storagev1.ReplaceRequest_Target_:
			target = m.Target
		case *storagev1.ReplaceRequest_Start:
			start = m.Start
		case *storagev1.ReplaceRequest_Chunk:
			body = append(body, m.Chunk...)
		case *storagev1.ReplaceRequest_Commit:
			committed = m.Commit.GetSize() == uint64(len(body))
		}
	}
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	to, err := s.at(cmp.Or(target.GetToAccountId(), whose(target)), target.GetMailbox())
	if err != nil {
		return err
	}
	from, err := s.box(whose(target), target.GetMailboxId())
	if err != nil {
		return err
	}
	old := func(m *memoryMessage) bool { return m.state.GetUid() == target.GetUid() }
	if len(from.pick([]*storagev1.UidRange{{Start: target.GetUid(), Stop: target.GetUid()}})) == 0 {
		return fault.New(codes.NotFound, rpcv1.Reason_REASON_NOT_FOUND, "no such message")
	}
	uid := to.add(body, start.GetFlags(), start.GetKeywords(), start.GetInternalUnix())
	from.remove(old)
	s.notify(to, false)
	s.notify(from, false)
	return stream.SendAndClose(&storagev1.ReplaceResponse{MailboxId: to.info.GetMailboxId(), UidValidity: to.info.GetUidValidity(), Uid: uid})
}

// TestReplace is the example of RFC 8508 section 3.4, and then that of UID REPLACE.
func TestReplace(t *testing.T) {
	g := newGateway(t)
	g.login().ok("CREATE Drafts")
	for range 4 {
		g.storage.deliver("Drafts", mail1)
	}
	k := g.selected("Drafts")
	validity := g.uidValidity("Drafts")
	for i, command := range []string{"REPLACE 4", "UID REPLACE 5"} {
		tag := fmt.Sprintf("A%03d", i+3)
		k.send("%s %s Drafts (\\Seen \\Draft) {%d}\r\n", tag, command, len(mail2))
		if line := k.line(); line != "+ OK" {
			t.Fatalf("continuation is %q", line)
		}
		k.send("%s\r\n", mail2)
		want := []string{
			fmt.Sprintf("* OK [APPENDUID %d %d] replacement is stored", validity, i+5),
			"* 5 EXISTS",
			"* 4 EXPUNGE",
			tag + " OK " + command[:len(command)-2] + " completed",
		}
		if lines := k.until(tag + " "); strings.Join(lines, "\n") != strings.Join(want, "\n") {
			t.Fatalf("got %q", lines)
		}
	}
	k.expect("FETCH 4 (UID FLAGS RFC822.SIZE)", fmt.Sprintf(`* 4 FETCH (UID 6 FLAGS (\Seen \Draft) RFC822.SIZE %d)`, len(mail2)), "OK")
}

// TestReplaceElsewhere: the target need not be the selected mailbox (RFC 8508 section 3.2), and sessions there see the message.
func TestReplaceElsewhere(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", mail2)
	k, other := g.selected("INBOX"), g.selected("Sent")
	k.expect("REPLACE * Sent {5+}\r\nhello", fmt.Sprintf("* OK [APPENDUID %d 1] replacement is stored", g.uidValidity("Sent")), "* 2 EXPUNGE", "OK REPLACE completed")
	other.send("i IDLE\r\n")
	other.until("* 1 EXISTS")
}

// TestReplaceByWhatIsThere: a message is put together of the one that it replaces (RFC 8508 section 4.2).
func TestReplaceByWhatIsThere(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", draft)
	k := g.selected("INBOX")
	url := fmt.Sprintf("/INBOX;UIDVALIDITY=%d/;UID=1/;SECTION=HEADER", g.uidValidity("INBOX"))
	k.ok("UID REPLACE 1 INBOX (\\Draft) CATENATE (URL \"%s\" TEXT {8+}\r\nnew text)", url)
	header, _, _ := strings.Cut(draft, "preamble")
	k.expect("FETCH 1 (UID RFC822.SIZE)", fmt.Sprintf("* 1 FETCH (UID 2 RFC822.SIZE %d)", len(header)+8), "OK")
	k.expect("REPLACE 1 INBOX CATENATE (URL \"/INBOX/;UID=9\")", "NO [BADURL ")
	k.expect("REPLACE 1 INBOX CATENATE (TEXT {0+}\r\n)", "NO [CANNOT] an empty message is none")
	k.expect("REPLACE 1 INBOX CATENATE (TEXT {2+}\r\nxx) {3+}\r\nabc", "BAD only one message")
	k.expect("STATUS INBOX (MESSAGES UIDNEXT)", "* STATUS INBOX (MESSAGES 1 UIDNEXT 3)", "OK")
}

// TestReplaceInQRESYNC: the old message is treated as by UID EXPUNGE (RFC 8508 section 4.5).
func TestReplaceInQRESYNC(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k := g.login()
	k.ok("ENABLE QRESYNC")
	k.ok("SELECT INBOX")
	untagged, tagged := k.do("UID REPLACE 1 INBOX (\\Draft) {5+}\r\nhello")
	if got := strings.Join(untagged[1:], "\n"); got != "* 2 EXISTS\n* VANISHED 1" {
		t.Errorf("got %q", untagged)
	}
	if !strings.HasPrefix(tagged, "OK [HIGHESTMODSEQ 4] UID REPLACE completed") {
		t.Errorf("tagged is %q", tagged)
	}
}

func TestReplaceRefused(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", strings.Repeat("x", 9_000))
	k := g.login()
	k.expect("REPLACE 1 INBOX {5+}\r\nhello", "BAD [CLIENTBUG] no mailbox is selected")
	k.ok("EXAMINE INBOX")
	k.expect("REPLACE 1 INBOX {5+}\r\nhello", "NO [CANNOT] the mailbox is selected read-only")
	k.ok("SELECT INBOX")
	for _, c := range []struct{ arguments, want string }{
		{"2 INBOX {5+}\r\nhello", "BAD no such message sequence number"},
		{"1 Nowhere {5+}\r\nhello", "NO [TRYCREATE]"},
		{"1 INBOX {0+}\r\n", "NO [CANNOT] an empty message is none"},
		{"1 INBOX (\\Nonsense) {5+}\r\nhello", "BAD unknown system flag"},
		{"1 INBOX {2000000}", "NO [TOOBIG]"},
		{"1 INBOX ~{5+}\r\nhe\x00lo", "NO [UNKNOWN-CTE]"},
		{"1 INBOX {5+}\r\nhello {5+}\r\nhello", "BAD only one message can replace another"},
		{"1 INBOX {5+}\r\nhello x", "BAD only one message can replace another"},
		{"1:2 INBOX {5+}\r\nhello", "BAD "},
		{"0 INBOX {5+}\r\nhello", "BAD "},
		{"$ INBOX {5+}\r\nhello", "BAD "},
		{"1 {5+}\r\nhello", "BAD "},
		{"1", "BAD "},
		{"1 INBOX", "BAD "},
	} {
		k.expect("REPLACE "+c.arguments, c.want)
		k.ok("NOOP")
	}
	k.expect("UID REPLACE 9 INBOX {5+}\r\nhello", "NO [NONEXISTENT]")
	k.expect("STATUS INBOX (MESSAGES UIDNEXT)", "* STATUS INBOX (MESSAGES 1 UIDNEXT 2)", "OK")
	// Quota has 10,000 octets left. Only what is more than the old message must fit.
	k.expect("REPLACE 1 INBOX {20000}", "NO [OVERQUOTA]")
	k.ok("REPLACE 1 INBOX {18000+}\r\n%s", strings.Repeat("y", 18_000))
	k.expect("STATUS INBOX (MESSAGES UIDNEXT SIZE)", "* STATUS INBOX (MESSAGES 1 UIDNEXT 3 SIZE 18000)", "OK")
}

// TestReplaceGone: somebody else has expunged the message, which this client was not told yet.
func TestReplaceGone(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	k.send("a REPLACE 1 INBOX {5}\r\n")
	if line := k.line(); line != "+ OK" {
		t.Fatalf("continuation is %q", line)
	}
	g.storage.remove("INBOX", 1)
	k.send("hello\r\n")
	lines := k.until("a ")
	if !strings.HasPrefix(lines[len(lines)-1], "a NO [EXPUNGEISSUED]") {
		t.Errorf("got %q", lines)
	}
	// The client may learn of it with this answer, or later.
	if answer := k.ok("STATUS INBOX (MESSAGES UIDNEXT)"); answer[0] != "* STATUS INBOX (MESSAGES 0 UIDNEXT 2)" {
		t.Errorf("got %q", answer)
	}
}

// TestVanishingInReplace: nothing changes unless the whole command came.
func TestVanishingInReplace(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("INBOX", mail1)
	k := g.selected("INBOX")
	k.send("a REPLACE 1 INBOX {5+}\r\nhello")
	if err := k.conn.Close(); err != nil {
		t.Fatal(err)
	}
	<-g.ended
	g.login().expect("STATUS INBOX (MESSAGES UIDNEXT)", "* STATUS INBOX (MESSAGES 1 UIDNEXT 2)", "OK")
}
