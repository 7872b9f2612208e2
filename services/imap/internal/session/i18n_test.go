package session

import (
	"slices"
	"strings"
	"testing"
)

// TestI18NLevel: what differs in case, or has marks, is the same to SEARCH, SORT and THREAD (RFC 5255 section 4.2).
func TestI18NLevel(t *testing.T) {
	g := newGateway(t)
	for _, subject := range []string{"Über", "ZEBRA", "uber", "zébra", "=?utf-8?q?Stra=C3=9Fe?=", "ばら"} {
		g.storage.deliver("INBOX", "Subject: "+subject+"\r\n\r\nx\r\n")
	}
	k := g.login()
	if lines := k.ok("CAPABILITY"); !slices.Contains(strings.Fields(lines[0]), "I18NLEVEL=1") {
		t.Errorf("CAPABILITY: %q", lines)
	}
	k.ok("SELECT INBOX")
	for _, c := range []struct{ command, want string }{
		{"SEARCH CHARSET UTF-8 SUBJECT {5+}\r\nZÉBR", "* SEARCH 4"},
		{"SEARCH SUBJECT UBER", "* SEARCH 3"},
		{"SEARCH CHARSET UTF-8 SUBJECT {5+}\r\nübER", "* SEARCH 1"},
		{"SEARCH SUBJECT STRASSE", "* SEARCH 5"},
		{"SEARCH CHARSET UTF-8 SUBJECT {3+}\r\nは", "* SEARCH 6"},
		{"SORT (SUBJECT) UTF-8 ALL", "* SORT 5 3 1 2 4 6"},
		{"THREAD ORDEREDSUBJECT UTF-8 1,3,2", "* THREAD (1)(2)(3)"},
	} {
		if got := k.ok("%s", c.command); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: got %q, want %q", c.command, got, c.want)
		}
	}
}
