package mbox

import (
	"mime"
	"net/mail"
	"regexp"
	"time"
)

// asctime is the date of a From line (RFC 4155 appendix A): "Thu Nov 24 18:22:48 1986", some programs add a zone.
var asctime = regexp.MustCompile(`[A-Z][a-z]{2} +\d{1,2} +\d{1,2}:\d{2}(?::\d{2})?(?: +[-+A-Z]\S*)? +\d{4}(?: +[-+]\d{4})?`)

var fromLayouts = []string{
	"Jan _2 15:04:05 2006", "Jan _2 15:04 2006", "Jan _2 15:04:05 2006 -0700", "Jan _2 15:04:05 -0700 2006",
	"Jan _2 15:04:05 MST 2006", "Jan _2 15:04 MST 2006",
}

var spaces = regexp.MustCompile(` +`)

// parseFromDate reads the date of a From line, in UTC where it has no zone. Zero if there is none.
func parseFromDate(line string) time.Time {
	text := spaces.ReplaceAllString(asctime.FindString(line), " ")
	for _, layout := range fromLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

// parseDate reads a Date field (RFC 5322 section 3.3); zero if it is none.
func parseDate(value string) time.Time {
	t, err := mail.ParseDate(value)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

func encodeValue(s string) string { return mime.QEncoding.Encode("utf-8", s) }

func decodeValue(s string) string {
	decoded, err := new(mime.WordDecoder).DecodeHeader(s)
	if err != nil {
		return s
	}
	return decoded
}
