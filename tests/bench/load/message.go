package load

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

const (
	textSize = 4 << 10
	words    = `the of and to in that is for it with as was on be at by this had not are but from or have an they which one you were her all
she there would their we him been has when who will more no if out so said what up its about into than them can only other new some could time
these two may then do first any my now such like our over man me even most made after also did many before must through back years where much
your way well down should because each just those people how too little state good very make world still own see men work long get here between
both life being under never day same another know while last might us great old year off come since against go came right used take three
postage parcel letter address delivery receipt invoice meeting schedule tomorrow regards attached please review report quarterly budget`
)

var vocabulary = strings.Fields(words)

// message makes a mail of about size octets: text, which compresses as text does, and beyond 4 KB an attachment, which does not. No line begins with a dot.
func message(size int) []byte {
	const boundary = "=_part"
	var b strings.Builder
	id := rand.Uint64()
	fmt.Fprintf(&b, "From: Sender Name <sender@elsewhere.example>\r\nTo: Receiver <receiver@example.test>\r\nSubject: %s %s %x\r\n", word(), word(), id)
	fmt.Fprintf(&b, "Date: Sun, 01 Mar 2026 12:00:00 +0000\r\nMessage-ID: <%x@elsewhere.example>\r\nMIME-Version: 1.0\r\n", id)
	attached := size > 2*textSize
	if attached {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%q\r\n\r\n--%s\r\n", boundary, boundary)
	}
	b.WriteString("Content-Type: text/plain; charset=utf-8\r\n\r\n")
	for column := 0; b.Len() < min(size, textSize); {
		w := word()
		if column += len(w) + 1; column > 72 {
			b.WriteString("\r\n")
			column = len(w) + 1
		}
		b.WriteString(w + " ")
	}
	b.WriteString("\r\n")
	if attached {
		fmt.Fprintf(&b, "--%s\r\nContent-Type: application/pdf; name=report.pdf\r\nContent-Disposition: attachment; filename=report.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary)
		raw := make([]byte, 57)
		for b.Len() < size {
			for i := range raw {
				raw[i] = byte(rand.Uint32())
			}
			b.WriteString(base64.StdEncoding.EncodeToString(raw) + "\r\n")
		}
		fmt.Fprintf(&b, "--%s--\r\n", boundary)
	}
	return []byte(b.String())
}

func word() string { return vocabulary[rand.IntN(len(vocabulary))] }

// messages are some that differ, to be sent over and over.
func messages(size int) [][]byte {
	some := make([][]byte, 16)
	for i := range some {
		some[i] = message(size)
	}
	return some
}
