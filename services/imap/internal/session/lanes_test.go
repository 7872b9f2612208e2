package session

import (
	"context"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// gate lets calls to storage wait until a test lets them go on.
type gate struct {
	t       testing.TB
	mu      sync.Mutex
	held    map[string]chan struct{}
	came    map[string]bool
	changed sync.Cond
	now     int // calls that are made now
	most    int
	log     []string // calls in the order of their ends
	slow    func()   // is called in each call; may be nil
}

// gate holds calls: "Read 1" is of the message with UID 1.
func (g *gateway) gate(calls ...string) *gate {
	a := &gate{t: g.t, held: map[string]chan struct{}{}, came: map[string]bool{}}
	a.changed.L = &a.mu
	for _, call := range calls {
		a.held[call] = make(chan struct{})
	}
	g.storage.mu.Lock()
	g.storage.before = a.pass
	g.storage.beforeRead = func(uid uint32) { a.pass(fmt.Sprintf("Read %d", uid)) }
	g.storage.mu.Unlock()
	g.t.Cleanup(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		for call := range a.held {
			a.free(call)
		}
	})
	return a
}

func (a *gate) pass(call string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now++
	a.most = max(a.most, a.now)
	a.came[call] = true
	a.changed.Broadcast()
	if held, slow := a.held[call], a.slow; held != nil || slow != nil {
		a.mu.Unlock()
		if held != nil {
			<-held
		}
		if slow != nil {
			slow()
		}
		a.mu.Lock()
	}
	a.now--
	a.log = append(a.log, call)
	a.changed.Broadcast()
}

func (a *gate) free(call string) {
	if held := a.held[call]; held != nil {
		close(held)
		delete(a.held, call)
	}
}

// release lets a call go on, now or when it comes.
func (a *gate) release(call string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.free(call)
}

// await waits until calls are made.
func (a *gate) await(calls ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, call := range calls {
		for !a.came[call] {
			a.changed.Wait()
		}
	}
}

func (a *gate) seen(call string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.came[call]
}

// tags reads responses until each tag is answered, and gives everything that came, by whole responses.
func (k *talk) tags(tags ...string) (responses []string) {
	k.t.Helper()
	open := slices.Clone(tags)
	for len(open) > 0 {
		r := k.response()
		if r == "" {
			k.t.Fatalf("the connection ended before %q; got %q", open, responses)
		}
		responses = append(responses, r)
		tag, _, _ := strings.Cut(r, " ")
		if i := slices.Index(open, tag); i >= 0 {
			open = slices.Delete(open, i, i+1)
		}
	}
	return responses
}

var announced = regexp.MustCompile(`\{(\d+)\}$`)

// response reads one response with its literals; "" at the end of the connection.
func (k *talk) response() string {
	k.t.Helper()
	var all strings.Builder
	for {
		line := k.line()
		all.WriteString(line)
		m := announced.FindStringSubmatch(line)
		if m == nil {
			return all.String()
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			k.t.Fatal(err)
		}
		octets := make([]byte, n)
		if _, err := io.ReadFull(k.r, octets); err != nil {
			k.t.Fatal(err)
		}
		all.WriteString("\r\n")
		all.Write(octets)
	}
}

// placeOf is where the response is that begins so; -1: nowhere.
func placeOf(responses []string, prefix string) int {
	return slices.IndexFunc(responses, func(r string) bool { return strings.HasPrefix(r, prefix) })
}

// inOrder checks that responses with these beginnings came, one after the other.
func inOrder(t *testing.T, responses []string, prefixes ...string) {
	t.Helper()
	rest := responses
	for _, p := range prefixes {
		i := placeOf(rest, p)
		if i < 0 {
			t.Fatalf("%q did not come, or not behind the others of %q, in:\n  %s", p, prefixes, strings.Join(responses, "\n  "))
		}
		rest = rest[i+1:]
	}
}

func numberedMail(i int) string {
	return fmt.Sprintf("From: bob@example.test\r\nSubject: %d\r\n\r\nBody %d.\r\n", i, i)
}

// filled is a gateway with messages in INBOX.
func filled(t *testing.T, messages int, change ...func(*Options)) *gateway {
	g := newGateway(t, change...)
	for i := range messages {
		g.storage.deliver("INBOX", numberedMail(i+1))
	}
	return g
}

func TestQuickCommandsPassSlowOnes(t *testing.T) {
	g := filled(t, 3)
	k := g.selected("INBOX")
	a := g.gate("Read 1", "Search")
	k.send("a UID FETCH 1 BODY.PEEK[]\r\nb SEARCH TEXT body\r\nc UID FETCH 2 BODY.PEEK[]\r\nd STATUS Sent (MESSAGES)\r\ne UID FETCH 3 (FLAGS)\r\nf LIST \"\" *\r\ng NOOP\r\n")
	early := k.tags("c", "d", "e", "f")
	if placeOf(early, "* 2 FETCH (UID 2 BODY[] {") < 0 || placeOf(early, "* STATUS Sent (MESSAGES 0)") < 0 || placeOf(early, "* 3 FETCH (UID 3 FLAGS ())") < 0 {
		t.Errorf("before the slow ones came %q", early)
	}
	if placeOf(early, "a ") >= 0 || placeOf(early, "b ") >= 0 || placeOf(early, "* 1 ") >= 0 {
		t.Errorf("held commands were answered: %q", early)
	}
	a.release("Search")
	inOrder(t, k.tags("b"), "* SEARCH 1 2 3", "b OK")
	a.release("Read 1")
	inOrder(t, k.tags("a", "g"), "* 1 FETCH (UID 1 BODY[] {", "a OK", "g OK")
}

func TestSoManyRunAtOnce(t *testing.T) {
	g := filled(t, 9)
	k := g.selected("INBOX")
	a := g.gate("Read 1", "Read 2", "Read 3", "Read 4")
	var tags []string
	var script strings.Builder
	for i := 1; i <= 9; i++ {
		tags = append(tags, fmt.Sprintf("t%d", i))
		fmt.Fprintf(&script, "t%d UID FETCH %d BODY.PEEK[]\r\n", i, i)
	}
	k.send("%s", script.String())
	a.await("Read 1", "Read 2", "Read 3", "Read 4")
	a.release("Read 3")
	for i := 5; i <= 9; i++ { // one lane is enough for the rest
		a.await(fmt.Sprintf("Read %d", i))
	}
	k.tags(tags[4:]...)
	for _, call := range []string{"Read 1", "Read 2", "Read 4"} {
		a.release(call)
	}
	k.tags("t1", "t2", "t4")
	if a.most != 4 {
		t.Errorf("%d calls were made at once", a.most)
	}
}

func TestOneAfterTheOtherIfSet(t *testing.T) {
	g := filled(t, 3, func(o *Options) { o.Limits.Pipeline = 1 })
	k := g.selected("INBOX")
	a := g.gate("Read 1")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb FETCH 2 BODY.PEEK[]\r\nc FETCH 3 FLAGS\r\n")
	a.await("Read 1")
	a.release("Read 1")
	inOrder(t, k.tags("a", "b", "c"), "* 1 FETCH", "a OK", "* 2 FETCH", "b OK", "* 3 FETCH", "c OK")
	if a.most != 1 {
		t.Errorf("%d calls were made at once", a.most)
	}
}

// TestChangesWaitForReads: RFC 9051 section 5.5, "FETCH + STORE" must give what order gives.
func TestChangesWaitForReads(t *testing.T) {
	g := filled(t, 3)
	k := g.selected("INBOX")
	a := g.gate("Read 1", "Search")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb SEARCH UNDELETED TEXT body\r\nc FETCH 2 FLAGS\r\nd STORE 2 +FLAGS (\\Deleted)\r\ne FETCH 2 FLAGS\r\nf EXPUNGE\r\ng FETCH 2 UID\r\n")
	before := k.tags("c")
	inOrder(t, before, "* 2 FETCH (FLAGS ())", "c OK")
	a.await("Read 1", "Search")
	a.release("Search")
	before = append(before, k.tags("b")...)
	if a.seen("StoreFlags") {
		t.Error("STORE did not wait for FETCH")
	}
	a.release("Read 1")
	all := slices.Concat(before, k.tags("d", "e", "f", "g"))
	inOrder(t, all, "* SEARCH 1 2 3", "b OK", "* 1 FETCH (BODY[]", "a OK", "* 2 FETCH (FLAGS (\\Deleted))", "d OK", "* 2 FETCH (FLAGS (\\Deleted))", "e OK", "* 2 EXPUNGE", "f OK", "* 2 FETCH (UID 3)", "g OK")
	if placeOf(a.log, "StoreFlags") < placeOf(a.log, "Read 1") {
		t.Errorf("calls: %q", a.log)
	}
}

// known makes the gateway's view of INBOX know what was changed last.
func (g *gateway) known() {
	other := g.selected("INBOX")
	other.ok("NOOP")
	other.ok("LOGOUT")
}

func TestNumbersStayWhileCommandsRun(t *testing.T) {
	g := filled(t, 4)
	k := g.selected("INBOX")
	a := g.gate("Read 1", "Read 4")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb FETCH 4 BODY.PEEK[]\r\n")
	a.await("Read 1", "Read 4")
	g.storage.remove("INBOX", 2)
	g.storage.deliver("INBOX", numberedMail(5))
	g.known()
	k.send("c FETCH 3:4 UID\r\nd SEARCH UID 4\r\ne NOOP\r\n")
	a.release("Read 4")
	first := k.tags("b")
	inOrder(t, first, "* 4 FETCH (BODY[]", "b OK")
	if placeOf(first, "* 2 EXPUNGE") >= 0 || placeOf(first, "* 5 EXISTS") >= 0 {
		t.Errorf("changes were told while a command ran: %q", first)
	}
	a.release("Read 1")
	rest := k.tags("a", "c", "d", "e")
	inOrder(t, rest, "* 1 FETCH (BODY[]", "a OK", "* 3 FETCH (UID 3)", "* 4 FETCH (UID 4)", "c OK", "* SEARCH 4", "d OK", "* 2 EXPUNGE", "e OK")
	inOrder(t, rest, "* 5 EXISTS", "a OK")
}

// TestPipelinesDoNotStarveChanges: with UIDs expunges are told between commands, as soon as no other runs.
func TestPipelinesDoNotStarveChanges(t *testing.T) {
	g := filled(t, 4)
	k := g.selected("INBOX")
	a := g.gate("Read 1", "Read 3")
	k.send("a UID FETCH 1 BODY.PEEK[]\r\nb UID FETCH 3 BODY.PEEK[]\r\n")
	a.await("Read 1", "Read 3")
	g.storage.remove("INBOX", 2)
	g.known()
	k.send("c UID FETCH 4 BODY.PEEK[TEXT]\r\nd UID FETCH 3 FLAGS\r\n")
	a.release("Read 3")
	inOrder(t, k.tags("b"), "* 3 FETCH (UID 3 BODY[]", "b OK")
	if a.seen("Read 4") {
		t.Error("a command began though there was news")
	}
	a.release("Read 1")
	inOrder(t, k.tags("a", "c", "d"), "* 1 FETCH (UID 1 BODY[]", "* 2 EXPUNGE", "a OK", "* 3 FETCH (UID 4 BODY[TEXT]", "c OK")
}

func TestSavedResultsAreUsedInOrder(t *testing.T) {
	g := filled(t, 3)
	k := g.selected("INBOX")
	a := g.gate("Read 1", "Search")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb SEARCH RETURN (SAVE) SUBJECT 2\r\nc FETCH $ UID\r\nd SEARCH RETURN (SAVE) UID 3\r\ne UID FETCH $ UID\r\nf UID FETCH $ BODY.PEEK[TEXT]\r\n")
	a.await("Read 1")
	if a.seen("Search") {
		t.Error("a search that saves did not wait")
	}
	a.release("Read 1")
	a.await("Search")
	a.release("Search")
	inOrder(t, k.tags("a", "b", "c", "d", "e", "f"), "a OK", "b OK", "* 2 FETCH (UID 2)", "c OK", "d OK", "* 3 FETCH (UID 3)", "e OK", "* 3 FETCH (UID 3 BODY[TEXT]", "f OK")
}

// TestAnswersThatLookAlikeComeInOrder: a client can tell them apart by nothing else.
func TestAnswersThatLookAlikeComeInOrder(t *testing.T) {
	g := filled(t, 3)
	k := g.selected("INBOX")
	a := g.gate("Search", "Read 1")
	k.send("a SEARCH TEXT body\r\nb SEARCH RETURN () 2\r\nc SEARCH 3\r\n")
	inOrder(t, k.tags("b"), `* ESEARCH (TAG "b") ALL 2`, "b OK")
	a.release("Search")
	inOrder(t, k.tags("a", "c"), "* SEARCH 1 2 3", "a OK", "* SEARCH 3", "c OK")
	k.send("a FETCH 1 BODY.PEEK[TEXT]\r\nb FETCH 2:3 UID\r\nc FETCH 1:2 FLAGS\r\n")
	inOrder(t, k.tags("b"), "* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)", "b OK")
	a.release("Read 1")
	inOrder(t, k.tags("a", "c"), "* 1 FETCH (BODY[TEXT]", "a OK", "* 1 FETCH (FLAGS ())", "c OK")
	a = g.gate("GetMailbox")
	k.send("a STATUS Sent (MESSAGES)\r\nb STATUS Trash (UIDNEXT)\r\nc LIST \"\" %% RETURN (STATUS (UIDNEXT))\r\nd NOOP\r\n")
	a.await("GetMailbox")
	if a.seen("ListMailboxes") {
		t.Error("LIST with STATUS did not wait for STATUS")
	}
	a.release("GetMailbox")
	all := k.tags("a", "b", "c", "d")
	inOrder(t, all, "* STATUS Sent (MESSAGES 0)", "a OK", "* LIST", "c OK", "d OK")
	inOrder(t, all, "* STATUS Trash (UIDNEXT 1)", "b OK", "* LIST", "c OK")
}

// TestSeenIsSetInOrder: FETCH BODY[] changes the mailbox, unless that cannot be or is done.
func TestSeenIsSetInOrder(t *testing.T) {
	g := filled(t, 3)
	k := g.selected("INBOX")
	a := g.gate("Search")
	k.send("a SEARCH UNSEEN TEXT body\r\nb FETCH 2 BODY[TEXT]\r\nc SEARCH UNSEEN TEXT body\r\n")
	a.await("Search")
	if a.seen("StoreFlags") {
		t.Error("FETCH BODY[] did not wait for SEARCH UNSEEN")
	}
	a.release("Search")
	inOrder(t, k.tags("a", "b", "c"), "* SEARCH 1 2 3", "a OK", "* 2 FETCH (BODY[TEXT] {9}\r\nBody 2.\r\n FLAGS (\\Seen))", "b OK", "* SEARCH 1 3", "c OK")
	k = g.login()
	k.ok("EXAMINE INBOX")
	a = g.gate("Read 1")
	k.send("a FETCH 1 BODY[]\r\nb FETCH 3 BODY[]\r\n")
	inOrder(t, k.tags("b"), "* 3 FETCH (BODY[]", "b OK")
	a.release("Read 1")
	k.tags("a")
}

// TestBodiesAreReadBesideWhatSetsSeen: who only reads bodies need not wait for a change of flags, nor does the change wait for them.
func TestBodiesAreReadBesideWhatSetsSeen(t *testing.T) {
	g := filled(t, 4)
	k := g.selected("INBOX")
	a := g.gate("Read 1")
	k.send("a UID FETCH 1 BODY[]\r\nb UID FETCH 2 BODY[]\r\nc UID FETCH 3 BODY.PEEK[]\r\nd FETCH 1:4 (UID FLAGS)\r\n")
	early := k.tags("b", "c")
	if placeOf(early, "* 2 FETCH (UID 2 BODY[] {47}\r\n"+numberedMail(2)+" FLAGS (\\Seen))") < 0 || placeOf(early, "* 3 FETCH (UID 3 BODY[] {47}\r\n"+numberedMail(3)+")") < 0 {
		t.Errorf("before the slow one came %q", early)
	}
	a.release("Read 1")
	late := k.tags("a", "d")
	inOrder(t, late, "* 1 FETCH (UID 1 BODY[] {47}\r\n"+numberedMail(1)+" FLAGS (\\Seen))", "a OK", "* 1 FETCH (UID 1 FLAGS (\\Seen))", "* 2 FETCH (UID 2 FLAGS (\\Seen))", "* 3 FETCH (UID 3 FLAGS ())", "d OK")
	k.expect("NOOP", "OK")
	k.ok("ENABLE CONDSTORE")
	k.send("a STORE 3 +FLAGS (x)\r\nb FETCH 4 BODY[TEXT]\r\nc FETCH 3 BODY[TEXT]\r\nd NOOP\r\n")
	all := k.tags("a", "b", "c", "d")
	told := 0
	for _, r := range all {
		if strings.Contains(r, " FETCH (") {
			told++
		}
	}
	if told != 3 {
		t.Errorf("changes were told twice: %q", all)
	}
}

// TestResponsesAreNotTorn: large literals come whole, and so do the answers between them.
func TestResponsesAreNotTorn(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		g := newGateway(t)
		bodies := map[string]string{}
		const messages = 8
		for i := 1; i <= messages; i++ {
			body := fmt.Sprintf("Subject: %d\r\n\r\n", i) + strings.Repeat(fmt.Sprintf("line of message %d\r\n", i), 10_000)
			g.storage.deliver("INBOX", body)
			bodies[fmt.Sprintf("* %d FETCH (UID %d BODY[] {%d}\r\n", i, i, len(body))] = body + ")"
		}
		k := g.selected("INBOX")
		if compressed {
			k.compress()
		}
		var script strings.Builder
		var tags []string
		for i := 1; i <= messages; i++ {
			fmt.Fprintf(&script, "f%d UID FETCH %d BODY.PEEK[]\r\ns%d STATUS Sent (MESSAGES)\r\nu%d UID SEARCH RETURN () UID %d\r\n", i, i, i, i, i)
			tags = append(tags, fmt.Sprintf("f%d", i), fmt.Sprintf("s%d", i), fmt.Sprintf("u%d", i))
		}
		k.send("%s", script.String())
		found := 0
		for _, r := range k.tags(tags...) {
			for head, body := range bodies {
				if rest, ok := strings.CutPrefix(r, head); ok {
					found++
					if rest != body {
						t.Errorf("%q is not what was stored", head)
					}
				}
			}
		}
		if found != messages {
			t.Errorf("%d of %d messages came", found, messages)
		}
	}
}

// TestSlowReaderHoldsLittle: no more commands begin than there are lanes while the client does not read.
func TestSlowReaderHoldsLittle(t *testing.T) {
	g := newGateway(t)
	body := "Subject: large\r\n\r\n" + strings.Repeat("a line\r\n", 1<<20) // more than the kernel takes
	var script strings.Builder
	var tags []string
	for i := 1; i <= 6; i++ {
		g.storage.deliver("INBOX", body)
		fmt.Fprintf(&script, "f%d UID FETCH %d BODY.PEEK[]\r\n", i, i)
		tags = append(tags, fmt.Sprintf("f%d", i))
	}
	k := g.selected("INBOX")
	if tcp, ok := k.conn.(*net.TCPConn); !ok || tcp.SetReadBuffer(64<<10) != nil {
		t.Fatal("the connection is not as the test wants it")
	}
	a := g.gate()
	k.send("%s", script.String())
	a.await("Read 1", "Read 2", "Read 3", "Read 4")
	if a.seen("Read 5") || a.seen("Read 6") {
		t.Error("more commands have begun than there are lanes")
	}
	found := 0
	for _, r := range k.tags(tags...) {
		if strings.HasSuffix(r, body+")") {
			found++
		}
	}
	if found != 6 {
		t.Errorf("%d of 6 messages came", found)
	}
}

func TestProgressIsOfItsCommand(t *testing.T) {
	g := filled(t, 3, func(o *Options) { o.Limits.Progress = time.Millisecond })
	k := g.selected("INBOX")
	a := g.gate("Search", "Read 1")
	k.send("a SEARCH TEXT body\r\nb FETCH 1 BODY.PEEK[]\r\n")
	k.until(`* OK [INPROGRESS ("a" NIL NIL)]`)
	a.release("Read 1")
	k.tags("b")
	k.until(`* OK [INPROGRESS ("a" NIL NIL)]`)
	a.release("Search")
	inOrder(t, k.tags("a"), "* SEARCH 1 2 3", "a OK")
}

func TestLogoutWaitsForReads(t *testing.T) {
	g := filled(t, 2)
	k := g.selected("INBOX")
	a := g.gate("Read 1")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb FETCH 2 BODY.PEEK[]\r\nc LOGOUT\r\n")
	k.tags("b")
	a.release("Read 1")
	inOrder(t, k.tags("a", "c"), "* 1 FETCH", "a OK", "* BYE", "c OK")
	if line := k.line(); line != "" {
		t.Errorf("after LOGOUT came %q", line)
	}
}

// TestAnswersComeAfterTheLastCommand: a client that sends no more still reads.
func TestAnswersComeAfterTheLastCommand(t *testing.T) {
	g := filled(t, 2)
	k := g.selected("INBOX")
	a := g.gate("Read 1")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb FETCH 2 BODY.PEEK[]\r\n")
	if tcp, ok := k.conn.(*net.TCPConn); !ok || tcp.CloseWrite() != nil {
		t.Fatal("the connection is not as the test wants it")
	}
	k.tags("b")
	a.release("Read 1")
	inOrder(t, k.tags("a"), "* 1 FETCH", "a OK")
}

func TestDrainLetsReadsEnd(t *testing.T) {
	g := filled(t, 2)
	k := g.selected("INBOX")
	a := g.gate("Read 1")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb FETCH 2 BODY.PEEK[]\r\n")
	k.tags("b")
	drained := make(chan int)
	go func() { drained <- g.sessions.Drain(context.Background(), 0, "going down") }()
	a.release("Read 1")
	k.tags("a")
	k.until("* BYE")
	if forced := <-drained; forced != 0 {
		t.Errorf("%d sessions were closed", forced)
	}
}

func TestCloseEndsReads(t *testing.T) {
	g := filled(t, 2)
	k := g.selected("INBOX")
	g.gate("Read 1")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb FETCH 2 BODY.PEEK[]\r\n")
	k.tags("b")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if forced := g.sessions.Drain(ctx, 0, "going down"); forced != 1 {
		t.Errorf("%d sessions were closed", forced)
	}
	<-g.ended
}

// panicking fails as a bug would.
type panicking struct {
	storagev1.StorageServiceClient
}

func (panicking) ListMailboxes(context.Context, *storagev1.ListMailboxesRequest, ...grpc.CallOption) (*storagev1.ListMailboxesResponse, error) {
	panic("test")
}

func TestPanicEndsOneSession(t *testing.T) {
	g := filled(t, 2, func(o *Options) { o.Storage = panicking{o.Storage} })
	k, other := g.selected("INBOX"), g.selected("INBOX")
	a := g.gate("Read 1")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb LIST \"\" *\r\nc FETCH 2 UID\r\n")
	a.await("Read 1")
	a.release("Read 1")
	all := k.until("* BYE [SERVERBUG]")
	if placeOf(all, "b ") >= 0 {
		t.Errorf("got %q", all)
	}
	if line := k.line(); line != "" {
		t.Errorf("after BYE came %q", line)
	}
	other.ok("FETCH 1 BODY.PEEK[]")
}

func TestMailboxIsDeletedUnderReads(t *testing.T) {
	g := newGateway(t)
	g.storage.deliver("Sent", numberedMail(1))
	g.storage.deliver("Sent", numberedMail(2))
	k, other := g.selected("Sent"), g.selected("Sent")
	a := g.gate("Read 1")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb FETCH 2 BODY.PEEK[]\r\n")
	k.tags("b")
	a.await("Read 1")
	other.send("a IDLE\r\n")
	other.until("+ ")
	g.login().ok("DELETE Sent")
	other.until("* BYE")
	a.release("Read 1")
	k.until("* BYE")
}

// TestBadCommandsWait: they are answered in order, and too many end the session when the others are answered.
func TestBadCommandsWait(t *testing.T) {
	g := filled(t, 2, func(o *Options) { o.Limits.BadCommands = 2 })
	k := g.selected("INBOX")
	a := g.gate("Read 1")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb FETCH 2 BODY.PEEK[]\r\nc FETCH 1 NONSENSE\r\nd FROBNICATE\r\n")
	k.tags("b")
	a.release("Read 1")
	inOrder(t, k.tags("a", "c", "d"), "a OK", "c BAD", "d BAD")
	k.until("* BYE")
}

// TestNewsWithNotify: RFC 5465; what happens while commands run is told when they have ended.
func TestNewsWithNotify(t *testing.T) {
	g := filled(t, 2)
	k := g.selected("INBOX")
	k.ok("NOTIFY SET (selected (MessageNew MessageExpunge))")
	a := g.gate("Read 1")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb FETCH 2 BODY.PEEK[]\r\n")
	k.tags("b")
	g.storage.deliver("INBOX", numberedMail(3))
	g.known()
	a.release("Read 1")
	all := k.tags("a")
	if placeOf(all, "* 3 EXISTS") < 0 {
		all = append(all, k.until("* 3 EXISTS")...)
	}
	inOrder(t, all, "* 1 FETCH")
	g.storage.deliver("INBOX", numberedMail(4))
	k.until("* 4 EXISTS")
}

// TestLiteralBehindReads: a continuation is asked for while others run, and does not end up inside a response.
func TestLiteralBehindReads(t *testing.T) {
	g := filled(t, 2)
	k := g.selected("INBOX")
	a := g.gate("Read 1")
	k.send("a FETCH 1 BODY.PEEK[]\r\nb FETCH 2 BODY.PEEK[]\r\nc SEARCH SUBJECT {1}\r\n")
	k.until("+ ")
	k.send("2\r\n")
	k.until("c OK")
	a.release("Read 1")
	k.tags("a")
}
