package wire

import (
	"strconv"
	"strings"
)

// MaxMetadataValue is the largest value that SETMETADATA takes, in octets.
const MaxMetadataValue = 64 << 10

// MetadataOptions are the options of GETMETADATA (RFC 5464 section 4.2).
type MetadataOptions struct {
	// MaxSize is the most octets of a value that is answered, if HasMaxSize.
	MaxSize    uint64
	HasMaxSize bool
	// Depth is how many levels below an entry are answered, too: 0, 1, or -1 for all.
	Depth int
}

// MetadataQuery asks for annotations.
type MetadataQuery struct {
	MetadataOptions
	// Entries are as the client spelt them, and were not checked.
	Entries []string
}

// GetMetadataArgs reads the arguments of GETMETADATA to the end of the command. An empty mailbox is the server. Options are taken
// before the mailbox, where the grammar of RFC 5464 has them, and behind it, where its examples do; entries also without parentheses.
func (d *Decoder) GetMetadataArgs() (mailbox string, q MetadataQuery, err error) {
	d.SP()
	options := d.Peek() == '('
	if options {
		q.MetadataOptions = d.metadataOptions()
		d.SP()
	}
	mailbox = d.Mailbox()
	d.SP()
	if !options {
		q.MetadataOptions = d.optionalMetadataOptions()
	}
	if d.Peek() == '(' {
		q.Entries = d.metadataEntries()
	} else {
		q.Entries = []string{d.AString()}
		for d.TrySP() {
			q.Entries = append(q.Entries, d.AString())
		}
	}
	err = d.End()
	return mailbox, q, err
}

// metadataEntries reads entries in parentheses.
func (d *Decoder) metadataEntries() (entries []string) {
	d.List(func() { entries = append(entries, d.AString()) })
	if len(entries) == 0 {
		d.Fail("no metadata entries")
	}
	return entries
}

// optionalMetadataOptions reads options, if what comes next are some, and the space behind them.
func (d *Decoder) optionalMetadataOptions() (o MetadataOptions) {
	if d.Ahead("(MAXSIZE") || d.Ahead("(DEPTH") {
		o = d.metadataOptions()
		d.SP()
	}
	return o
}

func (d *Decoder) metadataOptions() (o MetadataOptions) {
	d.List(func() {
		switch d.Keyword() {
		case "MAXSIZE":
			d.SP()
			o.MaxSize, o.HasMaxSize = d.Number64(), true
		case "DEPTH":
			d.SP()
			switch strings.ToUpper(d.Atom()) {
			case "0":
				o.Depth = 0
			case "1":
				o.Depth = 1
			case "INFINITY":
				o.Depth = -1
			default:
				d.Fail("DEPTH is 0, 1 or infinity")
			}
		default:
			d.Fail("unknown GETMETADATA option")
		}
	})
	return o
}

// MetadataReturn reads what follows METADATA among the return options of LIST (RFC 9590 section 5).
func (d *Decoder) MetadataReturn() (q MetadataQuery) {
	d.SP()
	q.MetadataOptions = d.optionalMetadataOptions()
	if d.Peek() == '(' {
		q.Entries = d.metadataEntries()
	} else {
		q.Entries = []string{d.AString()}
	}
	return q
}

// MetadataValue is an entry with its value.
type MetadataValue struct {
	// Entry is as the client spelt it, and was not checked.
	Entry string
	// Value is nil for NIL.
	Value []byte
}

// SetMetadataArgs reads the arguments of SETMETADATA to the end of the command. A value that is too large refuses it before the client sends it, if
// it waits for leave.
func (d *Decoder) SetMetadataArgs() (mailbox string, values []MetadataValue, err error) {
	d.SP()
	mailbox = d.Mailbox()
	d.SP()
	d.List(func() {
		entry := d.AString()
		d.SP()
		values = append(values, MetadataValue{entry, d.metadataValue()})
	})
	if len(values) == 0 {
		d.Fail("no metadata entries")
	}
	err = d.End()
	return mailbox, values, err
}

// metadataValue reads a string, which may be a literal8, or NIL.
func (d *Decoder) metadataValue() []byte {
	binary := d.TrySpecial('~')
	if !binary && d.Peek() != '{' {
		s, ok := d.NString()
		if !ok {
			return nil
		}
		return append([]byte{}, s...)
	}
	if d.Peek() != '{' {
		d.Fail("expected literal8")
		return nil
	}
	d.count()
	d.announcement()
	if d.err == nil && d.lit.left > MaxMetadataValue {
		d.Refuse("METADATA MAXSIZE "+strconv.Itoa(MaxMetadataValue), "the value is too large")
	}
	value := d.announcedOctets()
	if !binary {
		d.checkNUL(value)
	}
	return value
}
