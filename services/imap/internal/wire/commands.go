package wire

import "encoding/base64"

// LoginArgs reads the arguments of LOGIN to the end of the command.
func (d *Decoder) LoginArgs() (user, password string, err error) {
	d.SP()
	user = d.AString()
	d.SP()
	password = d.AString()
	err = d.End()
	return user, password, err
}

// AuthenticateArgs are the arguments of AUTHENTICATE.
type AuthenticateArgs struct {
	// Mechanism is in upper case.
	Mechanism string
	// Initial is the decoded initial response (RFC 4959) if HasInitial; it may be empty.
	Initial    []byte
	HasInitial bool
}

// AuthenticateArgs reads the arguments of AUTHENTICATE to the end of the command.
func (d *Decoder) AuthenticateArgs() (AuthenticateArgs, error) {
	var a AuthenticateArgs
	d.SP()
	a.Mechanism = d.Keyword()
	if d.TrySP() {
		a.HasInitial = true
		text := d.require(isAtomChar, d.lim.Line, "initial response")
		if text != "=" {
			var err error
			if a.Initial, err = base64.StdEncoding.DecodeString(text); err != nil {
				d.Fail("initial response is not base64")
			}
		}
	}
	err := d.End()
	return a, err
}

// EnableArgs reads the capability names of ENABLE, in upper case, to the end of the command.
func (d *Decoder) EnableArgs() ([]string, error) {
	d.SP()
	names := []string{d.Keyword()}
	for d.TrySP() {
		names = append(names, d.Keyword())
	}
	err := d.End()
	return names, err
}

// IDField is one field of ID; a NIL value is empty.
type IDField struct {
	Name, Value string
}

// IDArgs reads the fields of ID (RFC 2971) to the end of the command; NIL is nil.
func (d *Decoder) IDArgs() ([]IDField, error) {
	var fields []IDField
	d.SP()
	if d.Peek() != '(' {
		if _, ok := d.NString(); ok {
			d.Fail("expected list or NIL")
		}
		err := d.End()
		return nil, err
	}
	d.List(func() {
		var f IDField
		f.Name = d.String()
		d.SP()
		f.Value, _ = d.NString()
		// RFC 2971 section 3.3.
		if len(fields) == 30 || len(f.Name) > 30 || len(f.Value) > 1024 {
			d.Fail("ID beyond the limits of RFC 2971")
		}
		fields = append(fields, f)
	})
	err := d.End()
	return fields, err
}

// SelectArgs are the arguments of SELECT and EXAMINE.
type SelectArgs struct {
	Mailbox string
	Params  []Item
}

// SelectArgs reads the arguments of SELECT and EXAMINE to the end of the command.
func (d *Decoder) SelectArgs() (SelectArgs, error) {
	var a SelectArgs
	d.SP()
	a.Mailbox = d.Mailbox()
	if d.TrySP() {
		a.Params = d.ItemList(SelectParams)
	}
	err := d.End()
	return a, err
}

// CreateArgs are the arguments of CREATE.
type CreateArgs struct {
	Mailbox string
	// Params: USE has the special-use attributes as []string, as sent (RFC 6154 section 3).
	Params []Item
}

func registerCreate(g *Grammar) {
	g.Register(CreateParams, "USE", func(d *Decoder) any {
		d.SP()
		var uses []string
		d.List(func() {
			d.Special('\\')
			uses = append(uses, "\\"+d.Atom())
		})
		return uses
	})
}

// CreateArgs reads the arguments of CREATE to the end of the command.
func (d *Decoder) CreateArgs() (CreateArgs, error) {
	var a CreateArgs
	d.SP()
	a.Mailbox = d.Mailbox()
	if d.TrySP() {
		a.Params = d.ItemList(CreateParams)
	}
	err := d.End()
	return a, err
}

// MailboxArg reads one mailbox name to the end of the command.
func (d *Decoder) MailboxArg() (string, error) {
	d.SP()
	name := d.Mailbox()
	err := d.End()
	return name, err
}

// AStringArg reads one string to the end of the command.
func (d *Decoder) AStringArg() (string, error) {
	d.SP()
	s := d.AString()
	err := d.End()
	return s, err
}

// RenameArgs reads the arguments of RENAME to the end of the command.
func (d *Decoder) RenameArgs() (from, to string, err error) {
	d.SP()
	from = d.Mailbox()
	d.SP()
	to = d.Mailbox()
	err = d.End()
	return from, to, err
}

// QuotaLimit is a limit of one resource, in the resource's own unit (STORAGE: 1024 octets).
type QuotaLimit struct {
	// Resource is in upper case.
	Resource string
	Limit    uint64
}

// SetQuotaArgs are the arguments of SETQUOTA (RFC 9208 section 4.1.3).
type SetQuotaArgs struct {
	Root   string
	Limits []QuotaLimit
}

// SetQuotaArgs reads the arguments of SETQUOTA to the end of the command.
func (d *Decoder) SetQuotaArgs() (SetQuotaArgs, error) {
	var a SetQuotaArgs
	d.SP()
	a.Root = d.AString()
	d.SP()
	d.List(func() {
		var l QuotaLimit
		l.Resource = d.Keyword()
		d.SP()
		l.Limit = d.Number64()
		a.Limits = append(a.Limits, l)
	})
	err := d.End()
	return a, err
}

// CopyArgs are the arguments of COPY and MOVE.
type CopyArgs struct {
	Set     NumSet
	Mailbox string
}

// CopyArgs reads the arguments of COPY and MOVE to the end of the command.
func (d *Decoder) CopyArgs() (CopyArgs, error) {
	var a CopyArgs
	d.SP()
	a.Set = d.NumSet()
	d.SP()
	a.Mailbox = d.Mailbox()
	err := d.End()
	return a, err
}

// SetArg reads one sequence set to the end of the command.
func (d *Decoder) SetArg() (NumSet, error) {
	d.SP()
	set := d.NumSet()
	err := d.End()
	return set, err
}
