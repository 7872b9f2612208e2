package wire

// ReplaceTarget reads what comes first in REPLACE (RFC 8508 section 3): the message that goes, 0 for "*", and the mailbox of the
// one that comes. AppendMessage is next.
func (d *Decoder) ReplaceTarget() (message uint32, mailbox string) {
	d.SP()
	message = d.setNumber()
	d.SP()
	return message, d.Mailbox()
}

// ReplaceEnd reads the end of the command behind the one message.
func (d *Decoder) ReplaceEnd() error {
	if d.AppendMore() {
		d.Fail("only one message can replace another") // RFC 8508 section 4.7
	}
	return d.End()
}
