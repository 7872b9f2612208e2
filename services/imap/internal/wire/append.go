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
		m.UTF8, m.Binary = true, true
		d.utf8Literal()
	} else {
		m.Binary = d.TrySpecial('~')
		d.textLiteral()
	}
	if d.err != nil {
		return AppendMessage{}, d.err
	}
	m.Size, m.Sync = d.lit.left, d.lit.sync
	return m, nil
}

// textLiteral reads what announces a literal; Literal gives its octets.
func (d *Decoder) textLiteral() {
	if d.Peek() != '{' {
		d.Fail("expected literal")
	}
	d.announcement()
}

// utf8Literal reads what stands behind UTF8 (RFC 6855 section 4); Literal gives the octets, endLiteral reads the rest.
func (d *Decoder) utf8Literal() {
	d.SP()
	d.Special('(')
	d.Special('~')
	d.textLiteral()
	d.utf8Data = d.err == nil
}

// endLiteral reads what stands behind the octets of a message or part. What was not read of them is skipped.
func (d *Decoder) endLiteral() {
	d.finishLiteral()
	if d.utf8Data {
		d.utf8Data = false
		d.Special(')')
	}
}

// AppendMore ends the message that was read and reports whether another follows (RFC 3502).
func (d *Decoder) AppendMore() bool {
	d.endLiteral()
	return d.Peek() == ' '
}
