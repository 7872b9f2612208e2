package session

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/rpc"
	directoryv1 "github.com/yubin-mail/yubin/proto/yubin/directory/v1"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// refusing is a storage that refuses what changes something, and reads of bodies, for a reason of which the fake knows nothing.
type refusing struct {
	storagev1.StorageServiceClient
	mu  sync.Mutex
	err error // nil: it does as it is told
}

func (r *refusing) set(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *refusing) refusal() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// unless makes a call if it is not refused.
func unless[Q, A any](ctx context.Context, r *refusing, request Q, call func(context.Context, Q, ...grpc.CallOption) (A, error), opts []grpc.CallOption) (A, error) {
	if err := r.refusal(); err != nil {
		var none A
		return none, err
	}
	return call(ctx, request, opts...)
}

func (r *refusing) CreateMailbox(ctx context.Context, q *storagev1.CreateMailboxRequest, opts ...grpc.CallOption) (*storagev1.CreateMailboxResponse, error) {
	return unless(ctx, r, q, r.StorageServiceClient.CreateMailbox, opts)
}

func (r *refusing) RenameMailbox(ctx context.Context, q *storagev1.RenameMailboxRequest, opts ...grpc.CallOption) (*storagev1.RenameMailboxResponse, error) {
	return unless(ctx, r, q, r.StorageServiceClient.RenameMailbox, opts)
}

func (r *refusing) DeleteMailbox(ctx context.Context, q *storagev1.DeleteMailboxRequest, opts ...grpc.CallOption) (*storagev1.DeleteMailboxResponse, error) {
	return unless(ctx, r, q, r.StorageServiceClient.DeleteMailbox, opts)
}

func (r *refusing) SetSubscribed(ctx context.Context, q *storagev1.SetSubscribedRequest, opts ...grpc.CallOption) (*storagev1.SetSubscribedResponse, error) {
	return unless(ctx, r, q, r.StorageServiceClient.SetSubscribed, opts)
}

func (r *refusing) SetMetadata(ctx context.Context, q *storagev1.SetMetadataRequest, opts ...grpc.CallOption) (*storagev1.SetMetadataResponse, error) {
	return unless(ctx, r, q, r.StorageServiceClient.SetMetadata, opts)
}

func (r *refusing) SetAcl(ctx context.Context, q *storagev1.SetAclRequest, opts ...grpc.CallOption) (*storagev1.SetAclResponse, error) {
	return unless(ctx, r, q, r.StorageServiceClient.SetAcl, opts)
}

func (r *refusing) StoreFlags(ctx context.Context, q *storagev1.StoreFlagsRequest, opts ...grpc.CallOption) (*storagev1.StoreFlagsResponse, error) {
	return unless(ctx, r, q, r.StorageServiceClient.StoreFlags, opts)
}

func (r *refusing) Copy(ctx context.Context, q *storagev1.CopyRequest, opts ...grpc.CallOption) (*storagev1.CopyResponse, error) {
	return unless(ctx, r, q, r.StorageServiceClient.Copy, opts)
}

func (r *refusing) Move(ctx context.Context, q *storagev1.MoveRequest, opts ...grpc.CallOption) (*storagev1.MoveResponse, error) {
	return unless(ctx, r, q, r.StorageServiceClient.Move, opts)
}

func (r *refusing) Expunge(ctx context.Context, q *storagev1.ExpungeRequest, opts ...grpc.CallOption) (*storagev1.ExpungeResponse, error) {
	return unless(ctx, r, q, r.StorageServiceClient.Expunge, opts)
}

func (r *refusing) Read(ctx context.Context, q *storagev1.ReadRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[storagev1.ReadResponse], error) {
	return unless(ctx, r, q, r.StorageServiceClient.Read, opts)
}

func (r *refusing) Append(ctx context.Context, opts ...grpc.CallOption) (grpc.ClientStreamingClient[storagev1.AppendRequest, storagev1.AppendResponse], error) {
	if err := r.refusal(); err != nil {
		return nil, err
	}
	return r.StorageServiceClient.Append(ctx, opts...)
}

// TestResponseCodes: what each command that fails says of it, in the terms of RFC 5530, RFC 9051 section 7.1 and the extensions.
func TestResponseCodes(t *testing.T) {
	storage := &refusing{}
	g := newGateway(t, func(o *Options) { storage.StorageServiceClient, o.Storage = o.Storage, storage })
	g.storage.beforeRead = func(uint32) {} // each body is read alone, so that it can be refused
	g.storage.deliver("INBOX", mail1)
	g.storage.deliver("INBOX", mail2)
	authenticated, selected, examined := g.login(), g.selected("INBOX"), g.login()
	authenticated.ok("CREATE Parent/Child")
	examined.ok("EXAMINE INBOX")
	uidOnly := g.login()
	uidOnly.ok("ENABLE UIDONLY")
	uidOnly.ok("SELECT INBOX")
	const none = rpcv1.Reason_REASON_UNSPECIFIED
	for _, c := range []struct {
		on      *talk
		command string
		reason  rpcv1.Reason // for which storage refuses, if it does
		want    string
	}{
		// RFC 5530 section 3: something is there already, or is not.
		{authenticated, "CREATE Sent", none, "NO [ALREADYEXISTS] "},
		{authenticated, "CREATE inbox", none, "NO [ALREADYEXISTS] "},
		{authenticated, "RENAME Trash Sent", rpcv1.Reason_REASON_MAILBOX_EXISTS, "NO [ALREADYEXISTS] "},
		{authenticated, "SELECT Nowhere", none, "NO [NONEXISTENT] "},
		{authenticated, "EXAMINE Nowhere", none, "NO [NONEXISTENT] "},
		{authenticated, "STATUS Nowhere (MESSAGES)", none, "NO [NONEXISTENT] "},
		{authenticated, "DELETE Nowhere", none, "NO [NONEXISTENT] "},
		{authenticated, "RENAME Nowhere There", none, "NO [NONEXISTENT] "},
		{authenticated, "GETQUOTA nothing", none, "NO [NONEXISTENT] "},
		{authenticated, `GETQUOTAROOT "Other Users/nobody@example.test/Nowhere"`, none, "NO [NONEXISTENT] "},
		{authenticated, "GETMETADATA Nowhere /private/comment", none, "NO [NONEXISTENT] "},
		{authenticated, `SETMETADATA Nowhere (/private/comment "x")`, none, "NO [NONEXISTENT] "},
		{authenticated, "GETACL Nowhere", none, "NO [NONEXISTENT] "},
		{authenticated, "MYRIGHTS Nowhere", none, "NO [NONEXISTENT] "},
		{selected, "REPLACE 1 Nowhere {5}", none, "NO [TRYCREATE] "},
		{selected, "UID REPLACE 77 INBOX {5}", none, "NO [NONEXISTENT] "},
		// A target that CREATE would make: RFC 9051 section 6.3.12, 6.4.7 and 6.4.8.
		{authenticated, "APPEND Nowhere {5}", none, "NO [TRYCREATE] "},
		{selected, "COPY 1 Nowhere", none, "NO [TRYCREATE] "},
		{selected, "UID COPY 1 Nowhere", none, "NO [TRYCREATE] "},
		{selected, "UID COPY 999 Nowhere", none, "NO [TRYCREATE] "},
		{selected, "UID MOVE 999 Nowhere", none, "NO [TRYCREATE] "},
		{selected, "MOVE 1 Nowhere", none, "NO [TRYCREATE] "},
		{selected, "UID MOVE 1 Nowhere", none, "NO [TRYCREATE] "},
		{selected, "COPY 1 Sent", rpcv1.Reason_REASON_MAILBOX_NOT_FOUND, "NO [TRYCREATE] "}, // it has gone at this moment
		{selected, "MOVE 1 Sent", rpcv1.Reason_REASON_MAILBOX_NOT_FOUND, "NO [TRYCREATE] "},
		{selected, "APPEND Sent {5+}\r\nhello", rpcv1.Reason_REASON_MAILBOX_NOT_FOUND, "NO [TRYCREATE] "},
		// What never will be possible.
		{authenticated, "DELETE INBOX", none, "NO [CANNOT] "},
		{authenticated, "CREATE a//b", rpcv1.Reason_REASON_MAILBOX_NAME_INVALID, "NO [CANNOT] "},
		{authenticated, "RENAME Parent Parent/Child/More", rpcv1.Reason_REASON_MAILBOX_NAME_INVALID, "NO [CANNOT] "},
		{authenticated, "SUBSCRIBE a//b", rpcv1.Reason_REASON_MAILBOX_NAME_INVALID, "NO [CANNOT] "},
		{authenticated, `RENAME Sent "Other Users/bob@example.test/Sent"`, none, "NO [CANNOT] "},
		{authenticated, "SETACL INBOX -bob lr", none, "NO [CANNOT] "},
		{examined, `STORE 1 +FLAGS (\Seen)`, none, "NO [CANNOT] "},
		{examined, "EXPUNGE", none, "NO [CANNOT] "},
		{examined, "MOVE 1 Sent", none, "NO [CANNOT] "},
		{authenticated, "APPEND INBOX {0}", none, "NO [CANNOT] "},
		{selected, "REPLACE 1 INBOX {0}", none, "NO [CANNOT] "},
		{selected, "REPLACE 1 INBOX CATENATE (TEXT {0+}\r\n)", none, "NO [CANNOT] "},
		{authenticated, "DELETE Parent", none, "NO [HASCHILDREN] "},
		// RFC 6154 section 3.
		{authenticated, `CREATE Mine (USE (\All))`, none, "NO [USEATTR] "},
		{authenticated, `CREATE Mine (USE (\Sent))`, none, "NO [USEATTR] "},
		// Limits: RFC 5530, RFC 9208 section 5.4, RFC 7889, RFC 5464 section 4.3.
		{authenticated, "CREATE More", rpcv1.Reason_REASON_LIMIT, "NO [LIMIT] "},
		{authenticated, "SUBSCRIBE More", rpcv1.Reason_REASON_LIMIT, "NO [LIMIT] "},
		{authenticated, "SETACL INBOX anyone lr", rpcv1.Reason_REASON_LIMIT, "NO [LIMIT] "},
		{selected, "STORE 1 +FLAGS (keyword)", rpcv1.Reason_REASON_LIMIT, "NO [LIMIT] "},
		{selected, "COPY 1 Sent", rpcv1.Reason_REASON_LIMIT, "NO [LIMIT] "},
		{selected, "APPEND INBOX {10001}", none, "NO [OVERQUOTA] "},
		{selected, "APPEND INBOX {5+}\r\nhello", rpcv1.Reason_REASON_OVER_QUOTA, "NO [OVERQUOTA] "},
		{selected, "COPY 1 Sent", rpcv1.Reason_REASON_OVER_QUOTA, "NO [OVERQUOTA] "},
		{selected, "UID COPY 1 Sent", rpcv1.Reason_REASON_OVER_QUOTA, "NO [OVERQUOTA] "},
		{selected, "APPEND INBOX {2000000}", none, "NO [TOOBIG] "},
		{selected, "REPLACE 1 INBOX {2000000}", none, "NO [TOOBIG] "},
		{selected, "APPEND INBOX {5+}\r\nhello", rpcv1.Reason_REASON_MESSAGE_TOO_LARGE, "NO [TOOBIG] "},
		{authenticated, `SETMETADATA INBOX (/private/x "y")`, rpcv1.Reason_REASON_MESSAGE_TOO_LARGE, "NO [METADATA MAXSIZE 65536] "},
		{authenticated, `SETMETADATA INBOX (/private/x "y")`, rpcv1.Reason_REASON_LIMIT, "NO [METADATA TOOMANY] "},
		// Rights: RFC 5530, RFC 4314, RFC 5464 section 3.3, RFC 9208.
		{authenticated, `SETMETADATA "" (/shared/admin "x")`, none, "NO [NOPERM] "},
		{authenticated, `SETQUOTA "User quota" (STORAGE 1)`, none, "NO [NOPERM] "},
		{authenticated, "DELETE Sent", rpcv1.Reason_REASON_NOT_PERMITTED, "NO [NOPERM] "},
		{selected, "STORE 1 +FLAGS (keyword)", rpcv1.Reason_REASON_NOT_PERMITTED, "NO [NOPERM] "},
		{selected, "EXPUNGE", rpcv1.Reason_REASON_NOT_PERMITTED, "NO [NOPERM] "},
		{selected, "COPY 1 Sent", rpcv1.Reason_REASON_NOT_PERMITTED, "NO [NOPERM] "},
		{selected, "APPEND Sent {5+}\r\nhello", rpcv1.Reason_REASON_NOT_PERMITTED, "NO [NOPERM] "},
		// What is wrong with what was asked for.
		{selected, "SEARCH CHARSET X-NONE TEXT x", none, "NO [BADCHARSET (UTF-8 US-ASCII)] "},
		{selected, "UID SEARCH RETURN (ALL) CHARSET X-NONE TEXT x", none, "NO [BADCHARSET (UTF-8 US-ASCII)] "},
		{selected, "SORT (DATE) X-NONE ALL", none, "NO [BADCHARSET (UTF-8 US-ASCII)] "},
		{selected, "THREAD REFERENCES X-NONE ALL", none, "NO [BADCHARSET (UTF-8 US-ASCII)] "},
		{authenticated, "ESEARCH IN (personal) CHARSET X-NONE ALL", none, "NO [BADCHARSET (UTF-8 US-ASCII)] "},
		{selected, "FETCH 2 BINARY.PEEK[3]", none, "NO [UNKNOWN-CTE] "},
		{selected, "APPEND INBOX ~{5+}\r\nhe\x00lo", none, "NO [UNKNOWN-CTE] "},
		{selected, `APPEND INBOX CATENATE (URL "/INBOX/;UID=99")`, none, `NO [BADURL "/INBOX/;UID=99"] `},
		{authenticated, "NOTIFY SET (personal (AnnotationChange))", none, "NO [BADEVENT ("},
		{uidOnly, "FETCH 1 FLAGS", none, "BAD [UIDREQUIRED] "},
		// What is wrong here: RFC 5530 has a code for what will pass, for what is broken, and for what should not be.
		{authenticated, "CREATE More", rpcv1.Reason_REASON_UNAVAILABLE, "NO [UNAVAILABLE] "},
		{authenticated, "SUBSCRIBE More", rpcv1.Reason_REASON_UNAVAILABLE, "NO [UNAVAILABLE] "},
		{selected, "STORE 1 +FLAGS (keyword)", rpcv1.Reason_REASON_UNAVAILABLE, "NO [UNAVAILABLE] "},
		{selected, "EXPUNGE", rpcv1.Reason_REASON_UNAVAILABLE, "NO [UNAVAILABLE] "},
		{selected, "MOVE 1 Sent", rpcv1.Reason_REASON_UNAVAILABLE, "NO [UNAVAILABLE] "},
		{selected, "CLOSE", rpcv1.Reason_REASON_UNAVAILABLE, "NO [UNAVAILABLE] "},
		{selected, "FETCH 1 BODY.PEEK[]", rpcv1.Reason_REASON_UNAVAILABLE, "NO [UNAVAILABLE] "},
		{selected, "FETCH 1 BODY.PEEK[]", rpcv1.Reason_REASON_CORRUPT, "NO [CORRUPTION] "},
		{selected, "UID FETCH 1 BINARY.PEEK[1]", rpcv1.Reason_REASON_CORRUPT, "NO [CORRUPTION] "},
		{selected, "FETCH 1 BODY.PEEK[]", rpcv1.Reason_REASON_NOT_FOUND, "NO [EXPUNGEISSUED] "},
		{selected, "STORE 1 +FLAGS (keyword)", rpcv1.Reason_REASON_CALLER_NOT_ALLOWED, "NO [SERVERBUG] "},
		{selected, "COPY 1 Sent", rpcv1.Reason_REASON_LEASE_LOST, "NO [SERVERBUG] "},
	} {
		if c.reason != none {
			storage.set(fault.New(codes.FailedPrecondition, c.reason, "storage refuses"))
		}
		untagged, tagged := c.on.do("%s", c.command)
		storage.set(nil)
		if !strings.HasPrefix(tagged, c.want) || len(strings.TrimSpace(tagged)) <= len(c.want) {
			t.Errorf("%s (%s): %q, want %q and a text", c.command, c.reason, tagged, c.want)
		}
		for _, line := range untagged {
			if !strings.HasPrefix(line, "* FLAGS ") && !strings.HasPrefix(line, "* OK [") && !strings.HasSuffix(line, " EXISTS") {
				t.Errorf("%s: %q", c.command, line)
			}
		}
	}
	// All of that has left everything as it was.
	selected.expect("STATUS INBOX (MESSAGES UIDNEXT)", "* STATUS INBOX (MESSAGES 2 UIDNEXT 3)", "OK")
	authenticated.expect(`LIST "" *`, `* LIST (\HasNoChildren) "/" INBOX`, `* LIST (\HasChildren) "/" Parent`, `* LIST (\HasNoChildren) "/" Parent/Child`,
		`* LIST (\HasNoChildren \Sent) "/" Sent`, `* LIST (\HasNoChildren \Trash) "/" Trash`, "OK")
}

// TestStorageOfAnEarlierVersion: while an installation is upgraded, what storage does not know yet can be asked for again later.
func TestStorageOfAnEarlierVersion(t *testing.T) {
	storage := &refusing{}
	g := newGateway(t, func(o *Options) { storage.StorageServiceClient, o.Storage = o.Storage, storage })
	k := g.login()
	storage.set(status.Error(codes.Unimplemented, "unknown method"))
	for _, command := range []string{"CREATE x", `SETMETADATA INBOX (/private/comment "x")`} {
		k.expect(command, "NO [UNAVAILABLE] ")
	}
	g.storage.deliver("INBOX", mail1)
	k.ok("SELECT INBOX")
	k.expect("SEARCH TEXT body", "* SEARCH 1", "OK")
}

// SearchStream came later than Search.
func (r *refusing) SearchStream(
	ctx context.Context, q *storagev1.SearchStreamRequest, opts ...grpc.CallOption,
) (grpc.ServerStreamingClient[storagev1.SearchStreamResponse], error) {
	return unless(ctx, r, q, r.StorageServiceClient.SearchStream, opts)
}

// TestExpungeIssued: RFC 5530 section 3, RFC 2180 section 4. Commands with the numbers of messages that another session has removed.
func TestExpungeIssued(t *testing.T) {
	g := newGateway(t)
	for range 3 {
		g.storage.deliver("INBOX", mail1)
	}
	k := g.selected("INBOX")
	g.storage.beforeRead = func(uint32) {} // bodies are not read ahead
	g.storage.remove("INBOX", 2)
	k.expect("FETCH 2 BODY.PEEK[]", "NO [EXPUNGEISSUED] ")
	k.expect("FETCH 1:2 UID", "* 1 FETCH (UID 1)", "* 2 FETCH (UID 2)", "OK") // what is known of it can still be told
	k.expect(`STORE 2 +FLAGS (\Seen)`, "NO [EXPUNGEISSUED] ")
	k.expect(`STORE 1:3 +FLAGS.SILENT (\Seen)`, "NO [EXPUNGEISSUED] ") // of the others it is done
	k.expect(`UID STORE 2 +FLAGS (\Seen)`, "* 2 EXPUNGE", "OK UID STORE")
	k.expect("FETCH 1:* FLAGS", `* 1 FETCH (FLAGS (\Seen))`, `* 2 FETCH (FLAGS (\Seen))`, "OK")
	k.expect("UID FETCH 2 BODY.PEEK[]", "OK UID FETCH") // a UID without a message is no error
}

// porter is a directory that refuses logins for the reason that the user name says.
type porter struct {
	directoryv1.UnimplementedDirectoryServiceServer
}

var porterReasons = map[string]rpcv1.Reason{
	"wrong":     rpcv1.Reason_REASON_AUTHENTICATION_FAILED,
	"disabled":  rpcv1.Reason_REASON_ACCOUNT_DISABLED,
	"throttled": rpcv1.Reason_REASON_THROTTLED,
	"acting":    rpcv1.Reason_REASON_AUTHORIZATION_FAILED,
	"late":      rpcv1.Reason_REASON_CREDENTIALS_EXPIRED,
	"down":      rpcv1.Reason_REASON_UNAVAILABLE,
	"foreign":   rpcv1.Reason_REASON_CALLER_NOT_ALLOWED,
	"strange":   rpcv1.Reason_REASON_SASL_MALFORMED,
}

func (porter) Authenticate(stream directoryv1.DirectoryService_AuthenticateServer) error {
	req, err := stream.Recv()
	if err != nil {
		return err
	}
	user := strings.Split(string(req.GetStart().GetInitialResponse()), "\x00")[1]
	if user == "lost" {
		return errors.New("no reason is given")
	}
	return fault.New(codes.FailedPrecondition, porterReasons[user], "the directory refuses")
}

// TestLoginCodes: RFC 5530 section 3, RFC 9051 section 6.2.
func TestLoginCodes(t *testing.T) {
	in := rpc.NewInproc(slog.New(slog.DiscardHandler), nil)
	directoryv1.RegisterDirectoryServiceServer(in, porter{})
	g := newGateway(t, func(o *Options) { o.Directory = directoryv1.NewDirectoryServiceClient(in.Client("imap")) })
	for user, want := range map[string]string{
		"wrong":     "NO [AUTHENTICATIONFAILED] ",
		"disabled":  "NO [CONTACTADMIN] ",
		"throttled": "NO [UNAVAILABLE] ",
		"acting":    "NO [AUTHORIZATIONFAILED] ",
		"late":      "NO [EXPIRED] ",
		"down":      "NO [UNAVAILABLE] ",
		"lost":      "NO [UNAVAILABLE] ",
		"foreign":   "NO [SERVERBUG] ",
		"strange":   "BAD ",
	} {
		k := g.connect()
		k.expect("LOGIN "+user+" secret", want)
		k.expect("AUTHENTICATE PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00secret")), want)
		k.expect("AUTHENTICATE X-NONE", "NO [CANNOT] ")
		k.expect("NOOP", "OK")
	}
	secure := newGateway(t, withTLS(t)).connect()
	secure.expect("LOGIN alice secret", "NO [PRIVACYREQUIRED] ")
	secure.expect("AUTHENTICATE PLAIN", "NO [PRIVACYREQUIRED] ") // before a password is asked for
	secure.expect("AUTHENTICATE X-NONE", "NO [CANNOT] ")
	secure.startTLS()
	secure.expect("LOGIN alice wrong", "NO [AUTHENTICATIONFAILED] ")
}

// knownCodes are those that a failure of another service may come to: of RFC 5530 and RFC 9051 section 7.1.
var knownCodes = []string{
	"ALREADYEXISTS", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "CANNOT", "CONTACTADMIN", "CORRUPTION", "EXPIRED", "LIMIT", "NONEXISTENT", "NOPERM", "OVERQUOTA", "SERVERBUG", "TOOBIG", "UNAVAILABLE",
}

// TestReasonsHaveCodes: whatever other services say has a code, and only what should never come here is our mistake.
func TestReasonsHaveCodes(t *testing.T) {
	ours := []rpcv1.Reason{rpcv1.Reason_REASON_MAILDROP_IN_USE, rpcv1.Reason_REASON_LEASE_LOST, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED} // of POP3, and of operators
	for _, n := range slices.Sorted(maps.Keys(rpcv1.Reason_name)) {
		reason := rpcv1.Reason(n)
		if reason == rpcv1.Reason_REASON_UNSPECIFIED || reason == rpcv1.Reason_REASON_SASL_MALFORMED {
			continue // without a reason; BAD
		}
		a, bug := answerFor(fmt.Errorf("call: %w", fault.New(codes.FailedPrecondition, reason, "refused")))
		if a.status != wire.StatusNO || a.text == "" || !slices.Contains(knownCodes, a.code) {
			t.Errorf("%s is answered %+v", reason, a)
		}
		if mistake := a.code == "SERVERBUG"; mistake != slices.Contains(ours, reason) || mistake != bug {
			t.Errorf("%s is answered %+v, and our mistake: %v", reason, a, bug)
		}
	}
	for _, c := range []struct {
		err  error
		code string
	}{
		{context.DeadlineExceeded, "UNAVAILABLE"},
		{context.Canceled, "UNAVAILABLE"},
		{fault.New(codes.Unavailable, 0, "gone"), "UNAVAILABLE"},
		{fault.New(codes.ResourceExhausted, 0, "busy"), "UNAVAILABLE"},
		{fault.New(codes.Aborted, 0, "overtaken"), "UNAVAILABLE"},
		{fault.New(codes.Internal, 0, "broken"), "SERVERBUG"},
		{errors.New("unexpected"), "SERVERBUG"},
	} {
		if a, _ := answerFor(c.err); a.status != wire.StatusNO || a.code != c.code || strings.Contains(a.text, c.err.Error()) {
			t.Errorf("%v is answered %+v", c.err, a)
		}
	}
}
