package transfer

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// IMAPOptions say how to reach another server.
type IMAPOptions struct {
	Address        string // host:port
	User, Password string
	Security       Security
	TLS            *tls.Config // may be nil
	// Mailboxes in the server's own names; empty: all but those that only show messages of others (RFC 6154 \All, \Flagged).
	Mailboxes []string
}

// Security of the connection.
type Security int

// The kinds of security.
const (
	ImplicitTLS Security = iota
	StartTLS
	Plain
)

// fetchBatch is how many messages one FETCH asks for.
const fetchBatch = 50

const dialTimeout = 30 * time.Second

type imapSource struct {
	client    *imapclient.Client
	conn      net.Conn
	id        string
	only      []string
	caps      imap.CapSet
	stopWatch func() bool
}

// imapPlace is where a message is on the server.
type imapPlace struct {
	mailbox  string
	validity uint32
	uid      imap.UID
}

// OpenIMAP logs in to another server. The connection is cut when ctx ends.
func OpenIMAP(ctx context.Context, opts IMAPOptions) (Source, error) {
	client, conn, err := dialIMAP(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", opts.Address, err)
	}
	s := &imapSource{client: client, conn: conn, id: "imap:" + opts.User + "@" + opts.Address, only: opts.Mailboxes}
	s.stopWatch = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err := client.Login(opts.User, opts.Password).Wait(); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("log in to %s as %s: %w", opts.Address, opts.User, contextFirst(ctx, err))
	}
	s.caps = client.Caps()
	return s, nil
}

func dialIMAP(ctx context.Context, opts IMAPOptions) (*imapclient.Client, net.Conn, error) {
	host, _, err := net.SplitHostPort(opts.Address)
	if err != nil {
		return nil, nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if opts.TLS != nil {
		config = opts.TLS.Clone()
	}
	config.ServerName = cmp.Or(config.ServerName, host)
	config.NextProtos = []string{"imap"}
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", opts.Address)
	if err != nil {
		return nil, nil, err
	}
	clientOptions := &imapclient.Options{TLSConfig: config}
	switch opts.Security {
	case StartTLS:
		client, err := imapclient.NewStartTLS(conn, clientOptions)
		return client, conn, err
	case Plain:
		return imapclient.New(conn, clientOptions), conn, nil
	}
	secure := tls.Client(conn, config)
	handshake, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := secure.HandshakeContext(handshake); err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return imapclient.New(secure, clientOptions), conn, nil
}

func contextFirst(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (s *imapSource) ID() string { return s.id }

// Close cuts the connection: there is nothing to lose on a server that was only read.
func (s *imapSource) Close() error {
	s.stopWatch()
	return s.client.Close()
}

// Index lists the messages of all mailboxes.
func (s *imapSource) Index(ctx context.Context) ([]Item, []Folder, error) {
	options := &imap.ListOptions{}
	if s.caps.Has(imap.CapSpecialUse) && (s.caps.Has(imap.CapListExtended) || s.caps.Has(imap.CapIMAP4rev2)) {
		options.ReturnSpecialUse = true // others send the uses unasked, or not at all
	}
	list, err := s.client.List("", "*", options).Collect()
	if err != nil {
		return nil, nil, fmt.Errorf("list mailboxes: %w", contextFirst(ctx, err))
	}
	slices.SortStableFunc(list, func(a, b *imap.ListData) int { return cmp.Compare(rank(a.Mailbox), rank(b.Mailbox)) })
	var items []Item
	var folders []Folder
	for _, data := range list {
		if !s.wanted(data) {
			continue
		}
		folder := Folder{Name: yubinName(data), SpecialUse: specialUse(data.Attrs)}
		found, err := s.indexMailbox(data.Mailbox, folder.Name)
		if err != nil {
			return nil, nil, fmt.Errorf("list messages of %s: %w", data.Mailbox, contextFirst(ctx, err))
		}
		folders, items = append(folders, folder), append(items, found...)
	}
	for _, name := range s.only {
		if !slices.ContainsFunc(list, func(d *imap.ListData) bool { return d.Mailbox == name }) {
			return nil, nil, fmt.Errorf("the server has no mailbox %q", name)
		}
	}
	return items, folders, nil
}

func rank(mailbox string) int {
	if strings.EqualFold(mailbox, "INBOX") {
		return 0
	}
	return 1
}

func (s *imapSource) wanted(data *imap.ListData) bool {
	has := func(attr imap.MailboxAttr) bool {
		return slices.ContainsFunc(data.Attrs, func(a imap.MailboxAttr) bool { return strings.EqualFold(string(a), string(attr)) })
	}
	switch {
	case has(imap.MailboxAttrNoSelect), has(imap.MailboxAttrNonExistent):
		return false
	case len(s.only) > 0:
		return slices.Contains(s.only, data.Mailbox)
	}
	return !has(imap.MailboxAttrAll) && !has(imap.MailboxAttrFlagged)
}

// yubinName gives a mailbox's name with '/' between its levels; a '/' inside of one becomes '_'.
func yubinName(data *imap.ListData) string {
	name := data.Mailbox
	switch {
	case strings.EqualFold(name, "INBOX"):
		return "INBOX"
	case data.Delim == 0:
		return strings.ReplaceAll(name, "/", "_")
	case data.Delim == '/':
		return name
	}
	levels := strings.Split(name, string(data.Delim))
	for i := range levels {
		levels[i] = strings.ReplaceAll(levels[i], "/", "_")
	}
	return strings.Join(levels, "/")
}

var specialUses = map[imap.MailboxAttr]storagev1.SpecialUse{
	imap.MailboxAttrDrafts:  storagev1.SpecialUse_SPECIAL_USE_DRAFTS,
	imap.MailboxAttrSent:    storagev1.SpecialUse_SPECIAL_USE_SENT,
	imap.MailboxAttrJunk:    storagev1.SpecialUse_SPECIAL_USE_JUNK,
	imap.MailboxAttrTrash:   storagev1.SpecialUse_SPECIAL_USE_TRASH,
	imap.MailboxAttrArchive: storagev1.SpecialUse_SPECIAL_USE_ARCHIVE,
}

func specialUse(attrs []imap.MailboxAttr) storagev1.SpecialUse {
	for _, attr := range attrs {
		for name, use := range specialUses {
			if strings.EqualFold(string(attr), string(name)) {
				return use
			}
		}
	}
	return storagev1.SpecialUse_SPECIAL_USE_UNSPECIFIED
}

func (s *imapSource) indexMailbox(name, mailbox string) ([]Item, error) {
	selected, err := s.client.Select(name, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return nil, err
	}
	if selected.NumMessages == 0 {
		return nil, nil
	}
	all := imap.UIDSet{}
	all.AddRange(1, 0)
	fetch := s.client.Fetch(all, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true})
	var items []Item
	for {
		data := fetch.Next()
		if data == nil {
			break
		}
		m, err := data.Collect()
		if err != nil {
			return nil, errors.Join(err, fetch.Close())
		}
		if m.UID == 0 { // a change of flags that the server told of by itself
			continue
		}
		flags, keywords := imapFlags(m.Flags)
		items = append(items, Item{
			Key:     fmt.Sprintf("%s/%d.%d", mailbox, selected.UIDValidity, m.UID),
			Mailbox: mailbox, Flags: flags, Keywords: keywords, Date: m.InternalDate, Size: m.RFC822Size,
			place: imapPlace{name, selected.UIDValidity, m.UID},
		})
	}
	return items, fetch.Close()
}

func imapFlags(flags []imap.Flag) (bits uint32, keywords []string) {
	is := func(f imap.Flag) bool {
		return slices.ContainsFunc(flags, func(g imap.Flag) bool { return strings.EqualFold(string(f), string(g)) })
	}
	bits = flagBits(is(imap.FlagSeen), is(imap.FlagAnswered), is(imap.FlagFlagged), is(imap.FlagDeleted), is(imap.FlagDraft))
	for _, f := range flags {
		if !strings.HasPrefix(string(f), `\`) {
			keywords = append(keywords, string(f))
		}
	}
	return bits, keywords
}

// Read fetches a batch of messages with one command and hands on each while it comes in.
func (s *imapSource) Read(ctx context.Context, items []Item, each func(Item, io.Reader) error) error {
	for len(items) > 0 {
		first, _ := items[0].place.(imapPlace)
		n := 0
		set, byUID := imap.UIDSet{}, map[imap.UID]Item{}
		for n < len(items) && n < fetchBatch {
			place, _ := items[n].place.(imapPlace)
			if place.mailbox != first.mailbox {
				break
			}
			set.AddNum(place.uid)
			byUID[place.uid] = items[n]
			n++
		}
		if err := s.open(first); err != nil {
			return fmt.Errorf("open %s: %w", first.mailbox, contextFirst(ctx, err))
		}
		if err := s.fetch(ctx, set, byUID, each); err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

func (s *imapSource) open(place imapPlace) error {
	if m := s.client.Mailbox(); m != nil && m.Name == place.mailbox {
		return nil
	}
	selected, err := s.client.Select(place.mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err == nil && selected.UIDValidity != place.validity {
		err = errors.New("the mailbox was made anew meanwhile")
	}
	return err
}

func (s *imapSource) fetch(ctx context.Context, set imap.UIDSet, byUID map[imap.UID]Item, each func(Item, io.Reader) error) error {
	fetch := s.client.Fetch(set, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	for {
		data := fetch.Next()
		if data == nil {
			break
		}
		if err := fetched(data, byUID, each); err != nil {
			_ = s.conn.Close() // what else the server sends is of no use
			_ = fetch.Close()  // takes what was on its way, for which the client's reader waits
			return contextFirst(ctx, err)
		}
	}
	if err := fetch.Close(); err != nil {
		return fmt.Errorf("fetch: %w", contextFirst(ctx, err))
	}
	return nil
}

// fetched hands on one message. Servers send the UID before the body, as they were asked to; the order is not promised
// (RFC 9051 section 7.5.2), so a body that comes first is kept.
func fetched(data *imapclient.FetchMessageData, byUID map[imap.UID]Item, each func(Item, io.Reader) error) error {
	var uid imap.UID
	var early []byte
	seen := false
	for {
		switch item := data.Next().(type) {
		case nil:
			return nil
		case imapclient.FetchItemDataUID:
			uid = item.UID
			if seen {
				return hand(uid, byUID, strings.NewReader(string(early)), each)
			}
		case imapclient.FetchItemDataBodySection:
			if item.Literal == nil {
				continue
			}
			if uid != 0 {
				if err := hand(uid, byUID, &exactReader{item.Literal, item.Literal.Size()}, each); err != nil {
					return err
				}
				continue
			}
			body, err := io.ReadAll(io.LimitReader(&exactReader{item.Literal, item.Literal.Size()}, maxEarly))
			if err != nil {
				return err
			}
			if int64(len(body)) < item.Literal.Size() {
				return fmt.Errorf("a message of %d octets comes before its UID", item.Literal.Size())
			}
			early, seen = body, true
		}
	}
}

// maxEarly bounds a body that comes before its UID, in octets.
const maxEarly = 256 << 20

func hand(uid imap.UID, byUID map[imap.UID]Item, body io.Reader, each func(Item, io.Reader) error) error {
	item, ok := byUID[uid]
	if !ok {
		return nil
	}
	return each(item, body)
}

// exactReader fails where a literal is cut, so that no part of a message passes for the whole.
type exactReader struct {
	in   io.Reader
	left int64
}

// Read implements io.Reader.
func (r *exactReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p)
	r.left -= int64(n)
	if errors.Is(err, io.EOF) && r.left > 0 {
		err = fmt.Errorf("the connection was cut: %w", io.ErrUnexpectedEOF)
	}
	return n, err
}
