package imapmodel

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/unicode/norm"
)

// content is what never changes of a message.
type content struct {
	subject      subject
	from, to, cc person
	text         text
	id           string   // the Message-ID, with its brackets; "": there is none
	references   []string // the latest last
	header       string   // as it is stored, with the blank line
	size         int
	date         time.Time // INTERNALDATE
	sent         time.Time // the Date field
}

// subject is one as it is written and as it reads; base is the base subject, and reply tells whether it is one of a reply or forward (RFC 5256
// section 2.1).
type subject struct {
	written, reads, base string
	reply                bool
}

var subjects = []subject{
	{"lunch", "lunch", "lunch", false}, {"Re: lunch", "Re: lunch", "lunch", true}, {"RE: Fwd: Lunch", "RE: Fwd: Lunch", "lunch", true},
	{"dinner", "dinner", "dinner", false}, {"a plan", "a plan", "a plan", false}, {"[list] a plan", "[list] a plan", "a plan", false},
	{"zebra", "zebra", "zebra", false}, {"zebra (fwd)", "zebra (fwd)", "zebra", true}, {"[fwd: dinner]", "[fwd: dinner]", "dinner", true},
	{"=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte("お弁当")) + "?=", "お弁当", "お弁当", false}, {"", "", "", false},
}

// person is somebody in a header field, as it is written, and the parts.
type person struct{ written, name, local, domain string }

func (p person) address() string { return p.local + "@" + p.domain }

// displayed is what RFC 5957 sorts by.
func (p person) displayed() string {
	if p.name == "" && p.local != "" {
		return p.address()
	}
	return p.name
}

var people = []person{
	{"Bob <bob@example.test>", "Bob", "bob", "example.test"},
	{`"Cooper, Alice" <alice@b.example>`, "Cooper, Alice", "alice", "b.example"},
	{"zoe@a.example", "", "zoe", "a.example"},
	{"=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte("山田")) + "?= <yamada@example.test>", "山田", "yamada", "example.test"},
}

// text is a body as it is stored and as it reads.
type text struct{ encoding, stored, reads string }

var texts = []text{
	{"7bit", "Just a text.\r\n", "Just a text."}, {"7bit", "Noon, as always?\r\n", "Noon, as always?"},
	{"8bit", "ＬＵＮＣＨ、弁当です\r\n", "lunch、弁当です"},
	{"base64", base64.StdEncoding.EncodeToString([]byte("弁当 for a Zebra\r\n")) + "\r\n", "弁当 for a zebra"},
	{"quoted-printable", "a di=\r\nnner\r\n", "a dinner"},
}

// fold makes equal what searches take for the same.
func fold(s string) string { return strings.ToLower(norm.NFKC.String(s)) }

// ids are so few that messages have the same ones, and references lead in circles.
const ids = 8

func randomID(r *rand.Rand) string { return fmt.Sprintf("<id%d@ids.example>", r.IntN(ids)) }

// compose makes a message.
func compose(r *rand.Rand) (content, string) {
	c := content{
		subject: subjects[r.IntN(len(subjects))], from: people[r.IntN(len(people))], to: people[r.IntN(len(people))], text: texts[r.IntN(len(texts))],
		date: time.Date(2024, 1, 1+r.IntN(20), r.IntN(24), 30, 0, 0, time.UTC),
		sent: time.Date(2023, 12, 1+r.IntN(20), r.IntN(24), 15, 0, 0, time.UTC),
	}
	header := "From: " + c.from.written + "\r\nTo: " + c.to.written + "\r\n"
	if r.IntN(3) == 0 {
		c.cc = people[r.IntN(len(people))]
		header += "Cc: " + c.cc.written + "\r\n"
	}
	if r.IntN(4) > 0 {
		c.id = randomID(r)
		header += "Message-ID: " + c.id + "\r\n"
	}
	for range max(0, r.IntN(5)-1) {
		c.references = append(c.references, randomID(r))
	}
	switch n := len(c.references); {
	case n == 1 && r.IntN(2) == 0:
		header += "In-Reply-To: " + c.references[0] + "\r\n"
	case n > 0:
		header += "References: " + strings.Join(c.references, " ") + "\r\n"
	}
	c.header = header + "Subject: " + c.subject.written + "\r\nDate: " + c.sent.Format(time.RFC1123Z) + "\r\nX-Pad: " + strings.Repeat("x", r.IntN(60)) +
		"\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: " + c.text.encoding + "\r\n\r\n"
	c.size = len(c.header) + len(c.text.stored)
	return c, c.header + c.text.stored
}

// upload writes a message as APPEND and REPLACE have it, and gives its flags.
func upload(r *rand.Rand) (content, flagSet, string) {
	c, text := compose(r)
	names := randomFlags(r, 0)
	return c, flagsOf(slices.Clone(names)...), fmt.Sprintf(" (%s) %q {%d+}\r\n%s", strings.Join(names, " "), c.date.Format("02-Jan-2006 15:04:05 -0700"), len(text), text)
}
