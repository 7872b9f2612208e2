package search

import (
	"fmt"
	"strings"
	"time"

	"github.com/yubin-mail/yubin/pkg/message"
	"github.com/yubin-mail/yubin/pkg/message/text"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// evaluation is one message being matched: what was read of it is kept for the keys that come later.
type evaluation struct {
	reading
	program   *Program
	candidate Candidate
	index     Indexed // nil: there is none

	fields map[string][]string
	texts  *matcher
}

// field gives the values of all fields of a name, which is folded, and so are they: decoded, and as they stand where that differs.
func (e *evaluation) field(name string) ([]string, error) {
	if values, ok := e.fields[name]; ok {
		return values, nil
	}
	header, err := e.getHeader()
	if err != nil {
		return nil, err
	}
	var values []string
	for f := range message.EachHeader(header) {
		if text.Fold(string(f.Name)) == name {
			values = append(values, fieldTexts(f)...)
		}
	}
	if e.fields == nil {
		e.fields = make(map[string][]string)
	}
	e.fields[name] = values
	return values, nil
}

// fieldTexts gives the texts of a field's value that a search looks at: at least one.
func fieldTexts(f message.Field) []string {
	decoded := normal(text.DecodeHeader(f.Value))
	texts := []string{decoded}
	if raw := normal(string(message.Unfold(f.Value))); raw != decoded {
		texts = append(texts, raw)
	}
	if shown := addressText(f, decoded); shown != "" {
		texts = append(texts, shown)
	}
	return texts
}

// maxAddresses of a field are looked at, as many as an envelope has.
var maxAddresses = message.DefaultLimits().Addresses

// addressText gives those addresses that an envelope shows otherwise than the text of their field does, as quotes, comments and white space may stand within
// an address: FROM, TO, CC and BCC look into the envelope (RFC 9051 section 6.4.4).
func addressText(f message.Field, decoded string) string {
	if !f.Is("From") && !f.Is("To") && !f.Is("Cc") && !f.Is("Bcc") {
		return ""
	}
	var shown strings.Builder
	for _, a := range message.ParseAddresses(f.Value, maxAddresses) {
		name, address := normal(text.DecodeHeader(a.GetName())), normal(text.DecodeHeader(a.GetMailbox()))
		if a.Host != nil {
			address += "@" + normal(text.DecodeHeader(a.GetHost()))
		}
		if strings.Contains(decoded, name) && strings.Contains(decoded, address) {
			continue
		}
		if shown.Len() > 0 {
			shown.WriteString(", ")
		}
		if name != "" {
			shown.WriteString(name + " ")
		}
		shown.WriteString("<" + address + ">")
	}
	return shown.String()
}

// header is the key HEADER, and FROM, TO, CC, BCC and SUBJECT: the name is folded. Without a value the field has to be there. needle is the place
// in the program of what a message with it has.
type header struct {
	name, value string
	needle      int
}

func (header) needs() Needs { return NeedsHeader }

func (h header) match(e *evaluation) (bool, error) {
	if e.index != nil {
		if answer := e.index.Lookup(h.needle); answer == No || answer == Yes && h.value != "" {
			return answer == Yes, nil
		}
		kept, err := e.index.Text()
		if err != nil {
			return false, fmt.Errorf("get indexed text: %w", err)
		}
		if kept != nil {
			if found := kept.HasField(h.name, h.value); found || !kept.HeaderPartial {
				return found, nil
			}
		}
	}
	values, err := e.field(h.name)
	if err != nil {
		return false, err
	}
	for _, v := range values {
		if strings.Contains(v, h.value) {
			return true, nil
		}
	}
	return false, nil
}

// contains is the key BODY or TEXT: the place of its needle in the program.
type contains int

func (contains) needs() Needs { return NeedsBody }

func (c contains) match(e *evaluation) (bool, error) {
	if e.index != nil {
		if answer := e.index.Lookup(int(c)); answer != Unknown {
			return answer == Yes, nil
		}
		kept, err := e.index.Text()
		if err != nil {
			return false, fmt.Errorf("get indexed text: %w", err)
		}
		if kept != nil {
			if found := kept.Contains(e.program.needles[c]); found || !kept.Partial {
				return found, nil
			}
		}
	}
	if e.texts == nil {
		m := newMatcher(e.program.needles)
		if err := e.walk(m); err != nil {
			return false, err
		}
		e.texts = m
	}
	return e.texts.found[c], nil
}

// sentDate compares the day that the Date field names, whatever its zone (RFC 9051 section 6.4.4, SENTON).
type sentDate struct {
	days *storagev1.SearchCriteria_TimeRange
}

// maxZone is further than any zone that message.ParseDate accepts is from UTC, in seconds.
const maxZone = 25 * 3600

// needs: the date in UTC decides nearly always; only near an end of the range the zone matters.
func (sentDate) needs() Needs { return NeedsStructure }

func (s sentDate) match(e *evaluation) (bool, error) {
	utc := e.candidate.SentUnix()
	if utc == 0 {
		return false, nil
	}
	early, late := inRange(s.days, utc-maxZone), inRange(s.days, utc+maxZone)
	before, from := s.days.GetBeforeUnix(), s.days.GetFromUnix()
	switch {
	case early && late:
		return true, nil
	case from != 0 && utc+maxZone < from, before != 0 && utc-maxZone >= before:
		return false, nil
	}
	structure, err := e.getStructure()
	if err != nil {
		return false, err
	}
	sent, ok := message.ParseDate(structure.GetEnvelope().GetDate())
	if !ok {
		return false, nil
	}
	day := time.Date(sent.Year(), sent.Month(), sent.Day(), 0, 0, 0, 0, time.UTC)
	return inRange(s.days, day.Unix()), nil
}

// inRange holds from <= x < before; 0 is open.
func inRange(r *storagev1.SearchCriteria_TimeRange, x int64) bool {
	return (r.GetFromUnix() == 0 || x >= r.GetFromUnix()) && (r.GetBeforeUnix() == 0 || x < r.GetBeforeUnix())
}
