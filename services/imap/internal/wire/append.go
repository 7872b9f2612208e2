package wire

import "time"

// AppendMessage announces one message of APPEND (RFC 9051 section 6.3.12).
type AppendMessage struct {
	Flags []string
	// Date is the internal date, zero if none was given.
	Date time.Time
	// Size is the octets of the message.
	Size int64
	// Binary: a literal8, which may hold NUL.
	Binary bool
	// UTF8: the message is sent as UTF8 data (RFC 6855 section 4).
	UTF8 bool
	// Catenate: the message is put together of what CatenatePart gives; there is no literal yet.
	Catenate bool
	// Sync: the client waits for leave to send. Refused, it sends nothing.
	Sync bool
}

// AppendMailbox reads the mailbox of APPEND; AppendMessage is next.
func (d *Decoder) AppendMailbox() string {
	d.SP()
	return d.Mailbox()
}

// AppendMessage reads what stands before a message's octets. Literal gives the octets; to refuse the message, call Discard.
func (d *Decoder) AppendMessage() (AppendMessage, error) {
	var m AppendMessage
	d.items = 0 // nothing is held of the messages before
	d.SP()
	if d.Peek() == '(' {
		m.Flags = d.FlagList()
		d.SP()
	}
	if d.Peek() == '"' {
		m.Date = d.DateTime()
		d.SP()
	}
	if c := d.Peek(); c == 'C' || c == 'c' {
		if d.Keyword() != "CATENATE" {
			d.Fail("unknown APPEND data")
		}
		d.SP()
		d.Special('(')
		m.Catenate, d.parts = true, 0
		return m, d.err
	}
	if c := d.Peek(); c == 'U' || c == 'u' {
		if d.Keyword() != "UTF8" {
			d.Fail("unknown APPEND data")
		}
		d.SP()
		d.Special('(')
		m.UTF8 = true
		if d.Peek() != '~' {
			d.Fail("expected literal8")
		}
	}
	m.Binary = d.TrySpecial('~')
	if d.Peek() != '{' {
		d.Fail("expected literal")
	}
	d.announcement()
	if d.err != nil {
		return AppendMessage{}, d.err
	}
	d.utf8Data = m.UTF8
	m.Size, m.Sync = d.lit.left, d.lit.sync
	return m, nil
}

// AppendMore ends the message that was read and reports whether another follows (RFC 3502).
func (d *Decoder) AppendMore() bool {
	d.finishLiteral()
	if d.utf8Data {
		d.utf8Data = false
		d.Special(')')
	}
	return d.Peek() == ' '
}
