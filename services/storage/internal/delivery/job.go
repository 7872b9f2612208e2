package delivery

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/capacity"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// job is a request in the group commit.
type job struct {
	Request
	rows     []*meta.Row // one a target
	outcomes []Outcome   // one a target
	accepted []bool      // by target: holds a reservation and will be stored
	reserved time.Time   // before the reservations began
	settled  bool        // the commit settled the reservations, or they were released
	err      error
}

func (w *Writer) newJob(r Request) *job {
	j := &job{
		Request: r, rows: make([]*meta.Row, len(r.Targets)),
		outcomes: make([]Outcome, len(r.Targets)), accepted: make([]bool, len(r.Targets)),
	}
	messages := j.messages()
	for i, t := range r.Targets {
		id := ""
		if r.ID != "" {
			id = RowID(r.ID, slices.Index(messages, t.Message))
		}
		if t.InternalUnix == 0 {
			t.InternalUnix = w.now().Unix()
		}
		// The size is known from the spool before the body has a location.
		t.Message.content.Location.Size = t.Message.Size()
		j.rows[i] = &meta.Row{
			AccountID: t.AccountID, Mailbox: t.Mailbox, Fallback: t.Fallback, Content: t.Message.content, Prefix: t.Prefix,
			Flags: t.Flags, Keywords: t.Keywords, InternalUnix: t.InternalUnix, DeliveryID: id, Actor: t.Actor,
		}
	}
	return j
}

// RowID is the delivery id of the rows of a request's nth message: a request may bring several messages into one mailbox.
func RowID(request string, n int) string { return request + "/" + strconv.Itoa(n) }

// size gives the octets that the job still has to write.
func (j *job) size() (n int64) {
	for _, m := range j.messages() {
		if !m.stored {
			n += m.Size()
		}
	}
	return n
}

// RowWeight is what a row counts besides the octets of its body, in octets.
const RowWeight = 2 << 10

// weight is what the job adds to a group.
func (j *job) weight() int64 { return j.size() + RowWeight*int64(len(j.Targets)) }

// messages gives each message of the job once.
func (j *job) messages() []*Message {
	var out []*Message
	seen := map[*Message]bool{}
	for _, t := range j.Targets {
		if !seen[t.Message] {
			seen[t.Message] = true
			out = append(out, t.Message)
		}
	}
	return out
}

// weightOf is what a group of jobs adds to a transaction: its rows.
func weightOf(jobs []*job) (n int64) {
	for _, j := range jobs {
		n += RowWeight * int64(len(j.Targets))
	}
	return n
}

func (w *Writer) anyLarge(j *job) bool {
	for _, m := range j.messages() {
		if w.bodies.Large(m.Size()) {
			return true
		}
	}
	return false
}

// open tells whether a target is yet to be decided.
func (j *job) open(i int) bool { return !j.accepted[i] && j.outcomes[i] == Outcome{} }

// growth is what the account's usage grows by with a target; what it replaces makes room for it, if that is of the same account.
func (j *job) growth(row *meta.Row) (bytes, messages int64) {
	if j.Replaces != nil && j.Replaces.AccountID == row.AccountID {
		return max(row.Size()-j.Replaces.Size, 0), 0
	}
	return row.Size(), 1
}

// acceptFree accepts the open targets that need no reservation.
func (j *job) acceptFree() {
	for i, row := range j.rows {
		if bytes, messages := j.growth(row); j.open(i) && bytes == 0 && messages == 0 {
			j.accepted[i] = true
		}
	}
}

// reservations makes those of the open targets.
func (j *job) reservations() []*quotav1.Reservation {
	var out []*quotav1.Reservation
	for i, row := range j.rows {
		if !j.open(i) {
			continue
		}
		row.ReservationID = cmp.Or(row.ReservationID, capacity.NewID())
		bytes, messages := j.growth(row)
		out = append(out, &quotav1.Reservation{
			ReservationId: row.ReservationID, AccountId: row.AccountID,
			Bytes: bytes, Messages: messages, Exempt: j.Exempt,
		})
	}
	return out
}

// unsettled takes the reservations that must be released.
func (j *job) unsettled() []string {
	if j.settled {
		return nil
	}
	j.settled = true
	var ids []string
	for i, row := range j.rows {
		if j.accepted[i] {
			ids = append(ids, row.ReservationID)
		}
	}
	return ids
}

// maxPrefixBytes bounds what a pack says of a message's recipients besides who they are: pack.MaxMeta must hold them all.
const maxPrefixBytes = 256 << 10

// recovery is what the pack says of a message, so that it can be put back without the database: a marshalled storagev1.Recovery with those
// recipients that are stored.
func (j *job) recovery(m *Message) ([]byte, error) {
	header := &storagev1.Recovery{DeliveryId: j.ID, ContentId: m.content.ID}
	size := 0
	for i, t := range j.Targets {
		if t.Message != m || !j.accepted[i] {
			continue
		}
		r := &storagev1.Recovery_Recipient{AccountId: t.AccountID, InternalUnix: j.rows[i].InternalUnix}
		if size += proto.Size(r) + len(t.Prefix) + len(t.Mailbox); size <= maxPrefixBytes {
			r.Prefix, r.Mailbox, r.Fallback, r.Flags, r.Keywords = t.Prefix, t.Mailbox, t.Fallback, t.Flags, t.Keywords
		}
		header.Recipients = append(header.Recipients, r)
	}
	return proto.Marshal(header)
}
