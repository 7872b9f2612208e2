package message

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// obsoleteZones of RFC 5322 section 4.3 and a few that mailers write, in hours east of UTC. Single letters and unknown names
// mean an unknown zone: UTC.
var obsoleteZones = map[string]int{
	"UT": 0, "GMT": 0, "UTC": 0, "Z": 0,
	"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
	"JST": 9, "CET": 1, "CEST": 2, "MET": 1, "MEST": 2, "EET": 2, "EEST": 3, "BST": 1, "WET": 0, "WEST": 1, "MSK": 3, "KST": 9,
	"HKT": 8, "SGT": 8, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
}

var months = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

// maxDate octets of a Date field are looked at.
const maxDate = 256

// ParseDate reads a Date field (RFC 5322 section 3.3 and, obsolete, 4.3), tolerantly: the parts may come in any order that leaves
// no doubt, day of week, seconds and zone may be missing, years may have two or three digits, comments are skipped. It is false
// if day, month or year is missing or the time is out of range.
func ParseDate(value []byte) (time.Time, bool) {
	value = Unfold(value[:min(len(value), maxDate)])
	if t, err := time.Parse(time.RFC3339, string(value)); err == nil && validYear(t.Year()) {
		return t, true
	}
	d := dateParser{day: -1, month: -1, year: -1, hour: -1}
	for _, token := range dateTokens(value) {
		d.take(token)
	}
	return d.time()
}

// dateTokens splits at white space and commas, and "22-Aug-2002" at its hyphens.
func dateTokens(value []byte) []string {
	var tokens []string
	var plain []byte
	for len(value) > 0 {
		if value[0] == '(' {
			value = value[commentLen(value):]
			plain = append(plain, ' ')
			continue
		}
		plain = append(plain, value[0])
		value = value[1:]
	}
	for _, f := range strings.FieldsFunc(string(plain), func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
		if parts := strings.Split(f, "-"); len(parts) == 3 && isDigits(parts[0]) && monthOf(parts[1]) > 0 {
			tokens = append(tokens, parts...)
			continue
		}
		tokens = append(tokens, f)
	}
	return tokens
}

type dateParser struct {
	day, month, year  int
	hour, minute, sec int
	zone              int // seconds east of UTC
	hasZone           bool
}

func (d *dateParser) take(token string) {
	switch {
	case token == "":
	case strings.Contains(token, ":"):
		d.takeTime(token)
	case isDigits(token):
		d.takeNumber(token)
	case token[0] == '+' || token[0] == '-':
		d.takeOffset(token)
	case d.month < 0 && monthOf(token) > 0:
		d.month = monthOf(token)
	case !d.hasZone && d.hour >= 0:
		if hours, ok := obsoleteZones[strings.ToUpper(token)]; ok {
			d.zone, d.hasZone = hours*3600, true
		} else if len(token) > 4 && (token[3] == '+' || token[3] == '-') { // GMT+0900
			d.takeOffset(token[3:])
		}
	}
}

func (d *dateParser) takeNumber(token string) {
	n, err := strconv.Atoi(token)
	if err != nil {
		return
	}
	switch {
	case d.day < 0 && len(token) <= 2:
		d.day = n
	case d.year < 0 && len(token) <= 4:
		d.year = n
		switch { // RFC 5322 section 4.3
		case len(token) <= 2 && n < 50:
			d.year += 2000
		case n < 200: // three digits, and "0102", which a broken clock wrote for 2002
			d.year += 1900
		}
	}
}

// takeTime reads hh:mm or hh:mm:ss, perhaps with a fraction or a zone attached.
func (d *dateParser) takeTime(token string) {
	if d.hour >= 0 {
		return
	}
	if i := strings.IndexAny(token, "+-"); i > 0 {
		d.takeOffset(token[i:])
		token = token[:i]
	}
	fields := strings.SplitN(token, ":", 3)
	var n [3]int
	for i, f := range fields {
		f, _, _ = strings.Cut(f, ".")
		v, err := strconv.Atoi(f)
		if err != nil || !isDigits(f) {
			return
		}
		n[i] = v
	}
	d.hour, d.minute, d.sec = n[0], n[1], n[2]
}

// takeOffset reads +hhmm, +hh:mm or +hh. One that no zone can have leaves the zone unknown.
func (d *dateParser) takeOffset(token string) {
	digits := strings.ReplaceAll(token[1:], ":", "")
	if d.hasZone || !isDigits(digits) || len(digits) > 4 {
		return
	}
	if len(digits) <= 2 {
		digits += "00"
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n/100 > 24 || n%100 > 59 {
		return
	}
	d.zone, d.hasZone = (n/100*60+n%100)*60, true
	if token[0] == '-' {
		d.zone = -d.zone
	}
}

func (d *dateParser) time() (time.Time, bool) {
	if d.hour < 0 {
		d.hour = 0
	}
	if d.day < 1 || d.day > 31 || d.month < 1 || !validYear(d.year) || d.hour > 24 || d.minute > 59 || d.sec > 60 {
		return time.Time{}, false
	}
	return time.Date(d.year, time.Month(d.month), d.day, d.hour, d.minute, d.sec, 0, time.FixedZone("", d.zone)), true
}

func validYear(year int) bool { return year >= 1900 && year <= 9999 }

// monthOf gives 1 to 12 for a month's English name or its first three letters or more, 0 for anything else.
func monthOf(token string) int {
	token = strings.ToLower(strings.TrimSuffix(token, "."))
	if len(token) < 3 {
		return 0
	}
	for i, m := range months {
		if strings.HasPrefix(token, m) && strings.HasPrefix(strings.ToLower(time.Month(i+1).String()), token) || token == "sept" && m == "sep" {
			return i + 1
		}
	}
	return 0
}

func isDigits(s string) bool {
	return len(s) > 0 && len(bytes.Trim([]byte(s), "0123456789")) == 0
}
