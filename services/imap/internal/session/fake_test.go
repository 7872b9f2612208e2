package session

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"

	"golang.org/x/text/unicode/norm"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/message"
	"github.com/yubin-mail/yubin/pkg/message/text"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/imap/internal/view"
)

// memory is the storage service in memory, for alice where no account is named: enough of it for conversations with the engine.
// What clients see of the real one is tested end to end.
type memory struct {
	storagev1.UnimplementedStorageServiceServer

	mu         sync.Mutex
	nextID     map[string]uint64 // by account, as the real one has it
	boxes      map[view.Key]*memoryBox
	subscribed map[[2]string]bool // by account and name
	watchers   map[*memoryWatch]bool
	// metadata are the annotations by mailbox (0: the account itself) and name.
	metadata map[view.Key]map[string][]byte
	down     bool
	refused  chan struct{} // gets a signal when a call finds it down
	// beforeRead is called without the lock before a body is read.
	beforeRead func(uid uint32)
	// searching is what a search tells of its progress until it is closed. May be nil.
	searching chan *storagev1.SearchStreamResponse_Progress
	// before is called without the lock before some other calls are answered, with their names.
	before func(call string)
}

type memoryBox struct {
	account  string
	info     *storagev1.Mailbox
	acl      map[string]string // rights by grantee
	messages []*memoryMessage
	vanished map[uint32]uint64 // modseq by UID
}

type memoryMessage struct {
	state *storagev1.MessageState
	body  []byte
}

// id is the same for the same octets.
func (m *memoryMessage) id() string { return fmt.Sprintf("%x", sha256.Sum256(m.body))[:16] }

type memoryWatch struct {
	keys    map[view.Key]bool
	changes chan *storagev1.WatchResponse
}

func newMemory() *memory {
	s := &memory{
		nextID: map[string]uint64{}, boxes: map[view.Key]*memoryBox{}, subscribed: map[[2]string]bool{},
		refused: make(chan struct{}, 1), watchers: map[*memoryWatch]bool{},
	}
	s.of("alice")
	return s
}

// of makes an account's first mailboxes when it is first heard of.
func (s *memory) of(account string) {
	if s.nextID[account] > 0 {
		return
	}
	for name, use := range map[string]storagev1.SpecialUse{
		"INBOX": storagev1.SpecialUse_SPECIAL_USE_INBOX, "Sent": storagev1.SpecialUse_SPECIAL_USE_SENT,
		"Trash": storagev1.SpecialUse_SPECIAL_USE_TRASH,
	} {
		s.create(account, name, use)
		s.subscribed[[2]string{account, name}] = true
	}
}

func (s *memory) create(account, name string, use storagev1.SpecialUse) *memoryBox {
	s.nextID[account]++
	id := s.nextID[account]
	b := &memoryBox{account: account, acl: map[string]string{}, vanished: map[uint32]uint64{}, info: &storagev1.Mailbox{
		MailboxId: id, Name: name, UidValidity: 1000 + uint32(id), UidNext: 1, HighestModseq: 1, SpecialUse: use,
	}}
	if above, err := s.at(account, parentOf(name)); err == nil {
		b.acl = maps.Clone(above.acl)
	}
	s.boxes[view.Key{Account: account, Mailbox: id}] = b
	return b
}

var (
	errNoMailbox = fault.New(codes.NotFound, rpcv1.Reason_REASON_MAILBOX_NOT_FOUND, "mailbox does not exist")
	errDown      = fault.New(codes.Unavailable, rpcv1.Reason_REASON_UNAVAILABLE, "storage is down")
)

// enter takes the lock for a call.
func (s *memory) enter() (leave func(), err error) {
	s.mu.Lock()
	if s.down {
		s.mu.Unlock()
		select {
		case s.refused <- struct{}{}:
		default:
		}
		return nil, errDown
	}
	return s.mu.Unlock, nil
}

// arrived tells a test of a call, which may let it wait.
func (s *memory) arrived(call string) {
	s.mu.Lock()
	hook := s.before
	s.mu.Unlock()
	if hook != nil {
		hook(call)
	}
}

func (s *memory) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *memory) named(name string) (*memoryBox, error) { return s.at("alice", name) }

func (s *memory) at(account, name string) (*memoryBox, error) {
	s.of(account)
	for _, b := range s.boxes {
		if b.account == account && b.info.GetName() == norm.NFC.String(name) {
			return b, nil
		}
	}
	return nil, errNoMailbox
}

func (s *memory) box(account string, id uint64) (*memoryBox, error) {
	if b := s.boxes[view.Key{Account: account, Mailbox: id}]; b != nil {
		return b, nil
	}
	return nil, errNoMailbox
}

func (b *memoryBox) change() uint64 {
	b.info.HighestModseq++
	return b.info.HighestModseq
}

func (s *memory) describe(b *memoryBox) *storagev1.Mailbox {
	m := &storagev1.Mailbox{
		MailboxId: b.info.MailboxId, Name: b.info.Name, UidValidity: b.info.UidValidity, UidNext: b.info.UidNext,
		HighestModseq: b.info.HighestModseq, SpecialUse: b.info.SpecialUse, Subscribed: s.subscribed[[2]string{b.account, b.info.Name}],
		Messages: uint32(len(b.messages)), AccessModseq: b.info.AccessModseq,
	}
	for _, msg := range b.messages {
		m.Bytes += uint64(len(msg.body))
		if msg.state.Flags&uint32(storagev1.Flag_FLAG_SEEN) == 0 {
			m.Unseen++
		}
		if msg.state.Flags&uint32(storagev1.Flag_FLAG_DELETED) != 0 {
			m.Deleted++
			m.DeletedBytes += uint64(len(msg.body))
		}
	}
	return m
}

// notify tells the watchers that a mailbox changed.
func (s *memory) notify(b *memoryBox, deleted bool) {
	for w := range s.watchers {
		if w.keys[view.Key{Account: b.account, Mailbox: b.info.MailboxId}] {
			w.changes <- &storagev1.WatchResponse{Changes: []*storagev1.WatchResponse_Change{{
				AccountId: b.account, MailboxId: b.info.MailboxId, Modseq: b.info.HighestModseq, Deleted: deleted,
			}}}
		}
	}
}

func (b *memoryBox) add(body []byte, flags uint32, keywords []string, internal int64) uint32 {
	uid := b.info.UidNext
	b.info.UidNext++
	b.messages = append(b.messages, &memoryMessage{body: body, state: &storagev1.MessageState{
		Uid: uid, Modseq: b.change(), Flags: flags, Keywords: keywords, Size: uint64(len(body)), InternalUnix: internal,
		SavedUnix: 1_710_000_000 + int64(uid),
	}})
	return uid
}

// deliver adds a message as another service would.
func (s *memory) deliver(name, body string) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.named(name)
	if err != nil {
		panic(err)
	}
	uid := b.add([]byte(body), 0, nil, 1_700_000_000)
	s.notify(b, false)
	return uid
}

// remove expunges a message as another gateway's session would.
func (s *memory) remove(name string, uid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.named(name)
	if err != nil {
		panic(err)
	}
	b.remove(func(m *memoryMessage) bool { return m.state.Uid == uid })
	s.notify(b, false)
}

func (b *memoryBox) remove(which func(*memoryMessage) bool) (uids []*storagev1.UidRange) {
	if !slices.ContainsFunc(b.messages, which) {
		return nil
	}
	modseq := b.change()
	b.messages = slices.DeleteFunc(b.messages, func(m *memoryMessage) bool {
		if !which(m) {
			return false
		}
		b.vanished[m.state.Uid] = modseq
		uids = append(uids, &storagev1.UidRange{Start: m.state.Uid, Stop: m.state.Uid})
		return true
	})
	return uids
}

func inUIDs(ranges []*storagev1.UidRange, uid uint32) bool {
	return slices.ContainsFunc(ranges, func(r *storagev1.UidRange) bool { return r.Start <= uid && uid <= r.Stop })
}

func (b *memoryBox) pick(ranges []*storagev1.UidRange) (out []*memoryMessage) {
	for _, m := range b.messages {
		if inUIDs(ranges, m.state.Uid) {
			out = append(out, m)
		}
	}
	return out
}

func (s *memory) Append(stream storagev1.StorageService_AppendServer) error {
	var target *storagev1.AppendRequest_Target
	var starts []*storagev1.AppendRequest_Message
	var bodies [][]byte
	for {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		switch m := req.Message.(type) {
		case *storagev1.AppendRequest_Target_:
			target = m.Target
		case *storagev1.AppendRequest_Start:
			starts, bodies = append(starts, m.Start), append(bodies, nil)
		case *storagev1.AppendRequest_Chunk:
			last := len(bodies) - 1
			bodies[last] = append(bodies[last], m.Chunk...)
		case *storagev1.AppendRequest_Commit:
			leave, err := s.enter()
			if err != nil {
				return err
			}
			defer leave()
			b, err := s.at(whose(target), target.Mailbox)
			if err == nil {
				err = b.allows(target.Actor, 'i')
			}
			if err != nil {
				return err
			}
			answer := &storagev1.AppendResponse{MailboxId: b.info.MailboxId, UidValidity: b.info.UidValidity}
			for i, start := range starts {
				answer.Uids = append(answer.Uids, b.add(bodies[i], start.Flags, start.Keywords, start.InternalUnix))
			}
			s.notify(b, false)
			return stream.SendAndClose(answer)
		}
	}
}

func (s *memory) ListMailboxes(_ context.Context, req *storagev1.ListMailboxesRequest) (*storagev1.ListMailboxesResponse, error) {
	s.arrived("ListMailboxes")
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	s.of(req.AccountId)
	out := &storagev1.ListMailboxesResponse{}
	for _, b := range s.boxes {
		if b.account == req.AccountId {
			out.Mailboxes = append(out.Mailboxes, s.describe(b))
		}
	}
	sort.Slice(out.Mailboxes, func(i, j int) bool { return out.Mailboxes[i].Name < out.Mailboxes[j].Name })
	for of := range s.subscribed {
		if _, err := s.at(of[0], of[1]); err != nil && of[0] == req.AccountId {
			out.SubscribedOnly = append(out.SubscribedOnly, of[1])
		}
	}
	out.Shared = s.sharedWith(req.SharedWith)
	return out, nil
}

func (s *memory) GetMailbox(_ context.Context, req *storagev1.GetMailboxRequest) (*storagev1.GetMailboxResponse, error) {
	s.arrived("GetMailbox")
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := s.box(whose(req), req.GetMailboxId())
	if req.GetName() != "" {
		b, err = s.at(whose(req), req.GetName())
	}
	if err != nil {
		return nil, err
	}
	m := s.describe(b)
	if req.Actor != nil && req.Actor.AccountId != b.account {
		if m.Rights = b.rightsOf(req.Actor); m.Rights == "" {
			return nil, errNoMailbox
		}
	}
	return &storagev1.GetMailboxResponse{Mailbox: m}, nil
}

func (s *memory) CreateMailbox(_ context.Context, req *storagev1.CreateMailboxRequest) (*storagev1.CreateMailboxResponse, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	req.Name = norm.NFC.String(req.Name)
	if req.Actor != nil {
		above, err := s.at(whose(req), parentOf(req.Name))
		if err != nil {
			return nil, errDenied
		}
		if err := above.allows(req.Actor, 'k'); err != nil {
			return nil, err
		}
	}
	if _, err := s.at(whose(req), req.Name); err == nil {
		return nil, fault.New(codes.AlreadyExists, rpcv1.Reason_REASON_MAILBOX_EXISTS, "mailbox exists")
	}
	for _, b := range s.boxes {
		if req.SpecialUse != 0 && b.account == whose(req) && b.info.SpecialUse == req.SpecialUse {
			return nil, fault.New(codes.FailedPrecondition, rpcv1.Reason_REASON_INVALID, "another mailbox has that special use")
		}
	}
	for i, c := range req.Name {
		if c == '/' {
			if _, err := s.at(whose(req), req.Name[:i]); err != nil {
				s.create(whose(req), req.Name[:i], 0)
			}
		}
	}
	return &storagev1.CreateMailboxResponse{Mailbox: s.describe(s.create(whose(req), req.Name, req.SpecialUse))}, nil
}

func (s *memory) RenameMailbox(_ context.Context, req *storagev1.RenameMailboxRequest) (*storagev1.RenameMailboxResponse, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	req.From, req.To = norm.NFC.String(req.From), norm.NFC.String(req.To)
	from, err := s.at(whose(req), req.From)
	if err != nil {
		return nil, err
	}
	if err := from.allows(req.Actor, 'x'); err != nil {
		return nil, err
	}
	for _, b := range s.boxes {
		if b.account != whose(req) {
			continue
		}
		if rest, ok := strings.CutPrefix(b.info.Name, req.From); ok && (rest == "" || rest[0] == '/') {
			b.info.Name = req.To + rest
		}
	}
	return &storagev1.RenameMailboxResponse{}, nil
}

func (s *memory) DeleteMailbox(_ context.Context, req *storagev1.DeleteMailboxRequest) (*storagev1.DeleteMailboxResponse, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := s.at(whose(req), req.Name)
	if err != nil {
		return nil, err
	}
	if err := b.allows(req.Actor, 'x'); err != nil {
		return nil, err
	}
	if req.Name == "INBOX" {
		return nil, fault.New(codes.FailedPrecondition, rpcv1.Reason_REASON_MAILBOX_PROTECTED, "INBOX cannot be deleted")
	}
	for _, other := range s.boxes {
		if other.account == whose(req) && strings.HasPrefix(other.info.Name, req.Name+"/") {
			return nil, fault.New(codes.FailedPrecondition, rpcv1.Reason_REASON_MAILBOX_PROTECTED, "mailbox has children")
		}
	}
	delete(s.boxes, view.Key{Account: b.account, Mailbox: b.info.MailboxId})
	s.notify(b, true)
	return &storagev1.DeleteMailboxResponse{}, nil
}

func (s *memory) SetSubscribed(_ context.Context, req *storagev1.SetSubscribedRequest) (*storagev1.SetSubscribedResponse, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	delete(s.subscribed, [2]string{req.AccountId, req.Name})
	if req.Subscribed {
		s.subscribed[[2]string{req.AccountId, req.Name}] = true
	}
	return &storagev1.SetSubscribedResponse{}, nil
}

func (s *memory) Sync(req *storagev1.SyncRequest, stream grpc.ServerStreamingServer[storagev1.SyncResponse]) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	defer leave()
	b, err := s.box(req.AccountId, req.MailboxId)
	if err != nil {
		return err
	}
	answer := &storagev1.SyncResponse{Mailbox: s.describe(b)}
	for _, m := range b.messages {
		if m.state.Modseq > req.SinceModseq {
			answer.Changed = append(answer.Changed, m.state)
		}
	}
	for uid, modseq := range b.vanished {
		if req.SinceModseq > 0 && modseq > req.SinceModseq {
			answer.Vanished = append(answer.Vanished, &storagev1.UidRange{Start: uid, Stop: uid})
		}
	}
	return stream.Send(answer)
}

func (s *memory) Watch(stream grpc.BidiStreamingServer[storagev1.WatchRequest, storagev1.WatchResponse]) error {
	w := &memoryWatch{keys: map[view.Key]bool{}, changes: make(chan *storagev1.WatchResponse, 10_000)}
	s.mu.Lock()
	s.watchers[w] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watchers, w)
		s.mu.Unlock()
	}()
	go func() {
		for {
			req, err := stream.Recv()
			if err != nil {
				return
			}
			s.mu.Lock()
			for _, k := range req.Subscribe {
				key := view.Key{Account: k.AccountId, Mailbox: k.MailboxId}
				w.keys[key] = true
				change := &storagev1.WatchResponse_Change{AccountId: k.AccountId, MailboxId: k.MailboxId, Deleted: true} // it may be gone before its subscription has come
				if b := s.boxes[key]; b != nil {
					change.Modseq, change.Deleted = b.info.HighestModseq, false
				}
				w.changes <- &storagev1.WatchResponse{Changes: []*storagev1.WatchResponse_Change{change}}
			}
			for _, k := range req.Unsubscribe {
				delete(w.keys, view.Key{Account: k.AccountId, Mailbox: k.MailboxId})
			}
			s.mu.Unlock()
		}
	}()
	for {
		select {
		case c := <-w.changes:
			if err := stream.Send(c); err != nil {
				return err
			}
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

func (s *memory) Fetch(req *storagev1.FetchRequest, stream grpc.ServerStreamingServer[storagev1.FetchResponse]) error {
	leave, err := s.enter()
	if err != nil {
		return err
	}
	b, err := s.box(whose(req), req.MailboxId)
	if err != nil {
		leave()
		return err
	}
	var found []memoryMessage
	for _, m := range b.pick(req.Uids) {
		found = append(found, *m)
	}
	leave()
	for _, m := range found {
		parsed, err := message.Parse(bytes.NewReader(m.body), int64(len(m.body)), message.DefaultLimits())
		if err != nil {
			return err
		}
		out := &storagev1.Message{State: m.state, HeaderSize: parsed.Root.HeaderSize, EmailId: m.id(), ThreadId: "T" + m.id()}
		if req.Preview {
			out.Preview = parsed.Preview
		}
		if req.Structure {
			out.Structure = parsed.Root
		}
		if req.Envelope {
			out.Envelope = parsed.Envelope
		}
		if req.References {
			out.MessageId, out.References = parsed.MessageId, parsed.References
		}
		if req.Header {
			out.Header = m.body[:parsed.Root.HeaderSize]
		}
		if uint64(len(m.body)) <= req.WholeBytes && !s.readAlone() {
			out.Whole = m.body
		}
		if err := stream.Send(&storagev1.FetchResponse{Messages: []*storagev1.Message{out}}); err != nil {
			return err
		}
	}
	return nil
}

// readAlone tells whether a test looks at each Read: then no message comes with others.
func (s *memory) readAlone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.beforeRead != nil
}

func (s *memory) Read(req *storagev1.ReadRequest, stream grpc.ServerStreamingServer[storagev1.ReadResponse]) error {
	s.mu.Lock()
	hook := s.beforeRead
	s.mu.Unlock()
	if hook != nil {
		hook(req.Uid)
	}
	leave, err := s.enter()
	if err != nil {
		return err
	}
	b, err := s.box(whose(req), req.MailboxId)
	var found []*memoryMessage
	if err == nil {
		found = b.pick([]*storagev1.UidRange{{Start: req.Uid, Stop: req.Uid}})
	}
	leave()
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fault.New(codes.NotFound, rpcv1.Reason_REASON_NOT_FOUND, "no such message")
	}
	body := found[0].body[min(req.Offset, uint64(len(found[0].body))):]
	if req.Length > 0 {
		body = body[:min(req.Length, uint64(len(body)))]
	}
	for chunk := range slices.Chunk(body, 7000) {
		if err := stream.Send(&storagev1.ReadResponse{Chunk: chunk}); err != nil {
			return err
		}
	}
	return nil
}

// Search knows what the engine leaves to storage: text, and combinations with it.
func (s *memory) Search(_ context.Context, req *storagev1.SearchRequest) (*storagev1.SearchResponse, error) {
	s.arrived("Search")
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := s.box(whose(req), req.MailboxId)
	if err != nil {
		return nil, err
	}
	out := &storagev1.SearchResponse{}
	for _, m := range b.messages {
		if m.matches(req.Criteria) {
			out.Uids = append(out.Uids, &storagev1.UidRange{Start: m.state.Uid, Stop: m.state.Uid})
		}
	}
	return out, nil
}

// SearchStream is Search, behind what a test has it tell of its progress.
func (s *memory) SearchStream(req *storagev1.SearchStreamRequest, stream grpc.ServerStreamingServer[storagev1.SearchStreamResponse]) error {
	for s.searching != nil {
		p, more := <-s.searching
		if !more {
			break
		}
		if err := stream.Send(&storagev1.SearchStreamResponse{Progress: p}); err != nil {
			return err
		}
	}
	answer, err := s.Search(stream.Context(), req.Search)
	if err != nil {
		return err
	}
	return stream.Send(&storagev1.SearchStreamResponse{Result: answer})
}

func (m *memoryMessage) matches(c *storagev1.SearchCriteria) bool {
	contains := func(in, value string) bool {
		return strings.Contains(text.Fold(text.DecodeHeader([]byte(in))), text.Fold(value))
	}
	header, body, _ := strings.Cut(string(m.body), "\r\n\r\n")
	switch k := c.GetKey().(type) {
	case *storagev1.SearchCriteria_AllOf:
		return !slices.ContainsFunc(k.AllOf.Criteria, func(c *storagev1.SearchCriteria) bool { return !m.matches(c) })
	case *storagev1.SearchCriteria_AnyOf:
		return slices.ContainsFunc(k.AnyOf.Criteria, m.matches)
	case *storagev1.SearchCriteria_Not:
		return !m.matches(k.Not)
	case *storagev1.SearchCriteria_Uids:
		return inUIDs(k.Uids.Uids, m.state.Uid)
	case *storagev1.SearchCriteria_Flags:
		return m.state.Flags&k.Flags == k.Flags
	case *storagev1.SearchCriteria_Modseq:
		return m.state.Modseq >= k.Modseq
	case *storagev1.SearchCriteria_EmailId:
		return m.id() == k.EmailId
	case *storagev1.SearchCriteria_ThreadId:
		return "T"+m.id() == k.ThreadId
	case *storagev1.SearchCriteria_Header_:
		for field := range strings.SplitSeq(header, "\r\n") {
			if name, value, _ := strings.Cut(field, ":"); strings.EqualFold(name, k.Header.Name) && contains(value, k.Header.Value) {
				return true
			}
		}
		return false
	case *storagev1.SearchCriteria_Body:
		return contains(body, k.Body)
	case *storagev1.SearchCriteria_Text:
		return contains(string(m.body), k.Text)
	}
	return true
}

func (s *memory) StoreFlags(_ context.Context, req *storagev1.StoreFlagsRequest) (*storagev1.StoreFlagsResponse, error) {
	s.arrived("StoreFlags")
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := s.box(whose(req), req.MailboxId)
	if err != nil {
		return nil, err
	}
	req, err = b.permitted(req)
	if err != nil {
		return nil, err
	}
	answer := &storagev1.StoreFlagsResponse{PreviousModseq: b.info.HighestModseq}
	modseq := uint64(0)
	for _, m := range b.pick(req.Uids) {
		old := m.state
		if req.UnchangedSince != nil && old.Modseq > *req.UnchangedSince {
			answer.Modified = append(answer.Modified, &storagev1.UidRange{Start: old.Uid, Stop: old.Uid})
			continue
		}
		state := &storagev1.MessageState{Uid: old.Uid, Modseq: old.Modseq, Size: old.Size, InternalUnix: old.InternalUnix, SavedUnix: old.SavedUnix}
		switch req.Operation {
		case storagev1.StoreFlagsRequest_OPERATION_ADD:
			state.Flags = old.Flags | req.Flags
			state.Keywords = append(slices.Clone(old.Keywords), req.Keywords...)
		case storagev1.StoreFlagsRequest_OPERATION_REMOVE:
			state.Flags = old.Flags &^ req.Flags
			state.Keywords = slices.DeleteFunc(slices.Clone(old.Keywords), func(k string) bool { return slices.Contains(req.Keywords, k) })
		default:
			state.Flags, state.Keywords = req.Flags, slices.Clone(req.Keywords)
		}
		slices.Sort(state.Keywords)
		state.Keywords = slices.Compact(state.Keywords)
		if state.Flags != old.Flags || !slices.Equal(state.Keywords, old.Keywords) {
			if modseq == 0 {
				modseq = b.change()
			}
			state.Modseq = modseq
			m.state = state
		}
		answer.States = append(answer.States, m.state)
	}
	answer.HighestModseq = b.info.HighestModseq
	s.notify(b, false)
	return answer, nil
}

func (s *memory) copy(from *memoryBox, uids []*storagev1.UidRange, account, to string, actor *storagev1.Actor) (*storagev1.UidMapping, error) {
	target, err := s.at(cmp.Or(account, from.account), to)
	if err == nil {
		err = target.allows(actor, 'i')
	}
	if err != nil {
		return nil, err
	}
	mapping := &storagev1.UidMapping{MailboxId: target.info.MailboxId, UidValidity: target.info.UidValidity}
	for _, m := range from.pick(uids) {
		mapping.Source = append(mapping.Source, m.state.Uid)
		mapping.Destination = append(mapping.Destination, target.add(m.body, m.state.Flags, m.state.Keywords, m.state.InternalUnix))
	}
	s.notify(target, false)
	return mapping, nil
}

func (s *memory) Copy(_ context.Context, req *storagev1.CopyRequest) (*storagev1.CopyResponse, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := s.box(whose(req), req.MailboxId)
	if err != nil {
		return nil, err
	}
	mapping, err := s.copy(b, req.Uids, req.ToAccountId, req.ToMailbox, req.Actor)
	return &storagev1.CopyResponse{Mapping: mapping}, err
}

func (s *memory) Move(_ context.Context, req *storagev1.MoveRequest) (*storagev1.MoveResponse, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := s.box(whose(req), req.MailboxId)
	if err != nil {
		return nil, err
	}
	mapping, err := s.copy(b, req.Uids, req.ToAccountId, req.ToMailbox, req.Actor)
	if err != nil {
		return nil, err
	}
	b.remove(func(m *memoryMessage) bool { return slices.Contains(mapping.Source, m.state.Uid) })
	s.notify(b, false)
	return &storagev1.MoveResponse{Mapping: mapping, HighestModseq: b.info.HighestModseq}, nil
}

func (s *memory) Expunge(_ context.Context, req *storagev1.ExpungeRequest) (*storagev1.ExpungeResponse, error) {
	s.arrived("Expunge")
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	b, err := s.box(whose(req), req.MailboxId)
	if err != nil {
		return nil, err
	}
	if err := b.allows(req.Actor, 'e'); err != nil {
		return nil, err
	}
	expunged := b.remove(func(m *memoryMessage) bool {
		return m.state.Flags&uint32(storagev1.Flag_FLAG_DELETED) != 0 && (len(req.Uids) == 0 || inUIDs(req.Uids, m.state.Uid))
	})
	s.notify(b, false)
	return &storagev1.ExpungeResponse{Expunged: expunged, HighestModseq: b.info.HighestModseq}, nil
}
