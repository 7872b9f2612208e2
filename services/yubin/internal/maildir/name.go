// Package maildir reads and writes Maildir++ trees: folders cur, new and tmp for the inbox, and for each other mailbox a folder
// ".Name" or ".Parent.Child" with the same three.
package maildir

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// inbox is the mailbox of the tree's own folder.
const inbox = "INBOX"

// modified is the base64 of IMAP's modified UTF-7 (RFC 3501 section 5.1.3), in which folder names are written.
var modified = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

var errName = errors.New("not modified UTF-7")

// folderName gives the folder of a mailbox whose levels are separated by '/'. Dots inside a level are encoded, as a plain dot
// separates levels; so no name leads out of the tree.
func folderName(mailbox string) string {
	if mailbox == inbox {
		return ""
	}
	var b strings.Builder
	for level := range strings.SplitSeq(mailbox, "/") {
		b.WriteByte('.')
		if level == "" { // no mailbox of ours has such a name, but ".." must never come of one
			level = "_"
		}
		encode(&b, level)
	}
	return b.String()
}

func encode(b *strings.Builder, level string) {
	var wide []uint16
	flush := func() {
		if len(wide) == 0 {
			return
		}
		octets := make([]byte, 0, 2*len(wide))
		for _, u := range wide {
			octets = binary.BigEndian.AppendUint16(octets, u)
		}
		b.WriteString("&" + modified.EncodeToString(octets) + "-")
		wide = wide[:0]
	}
	for _, r := range level {
		switch {
		case r == '&':
			flush()
			b.WriteString("&-")
		case r >= ' ' && r < 0x7f && r != '.' && r != '\\':
			flush()
			b.WriteRune(r)
		default:
			wide = utf16.AppendRune(wide, r)
		}
	}
	flush()
}

// mailboxName is the inverse of folderName. A folder that is not in modified UTF-7 keeps its name if that is UTF-8: some programs
// write plain UTF-8.
func mailboxName(folder string) (string, error) {
	if folder == "" {
		return inbox, nil
	}
	var levels []string
	for level := range strings.SplitSeq(strings.TrimPrefix(folder, "."), ".") {
		name, err := decode(level)
		if err != nil {
			if !utf8.ValidString(level) {
				return "", err
			}
			name = level
		}
		levels = append(levels, strings.ReplaceAll(name, "/", "_"))
	}
	return strings.Join(levels, "/"), nil
}

func decode(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		plain, rest, shifted := strings.Cut(s, "&")
		for i := range len(plain) {
			if plain[i] >= 0x80 {
				return "", errName
			}
		}
		b.WriteString(plain)
		if !shifted {
			break
		}
		code, after, closed := strings.Cut(rest, "-")
		octets, err := modified.DecodeString(code)
		if err != nil || !closed || len(octets)%2 != 0 {
			return "", errName
		}
		if code == "" {
			b.WriteByte('&')
		}
		units := make([]uint16, 0, len(octets)/2)
		for i := 0; i < len(octets); i += 2 {
			units = append(units, binary.BigEndian.Uint16(octets[i:]))
		}
		b.WriteString(string(utf16.Decode(units)))
		s = after
	}
	return b.String(), nil
}
