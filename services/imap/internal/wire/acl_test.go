package wire

import "testing"

func TestRightsChange(t *testing.T) {
	for _, c := range []struct {
		in   string
		want RightsChange
	}{
		{"lrswida", RightsChange{'=', "lrswitea"}},
		{"lrswikda", RightsChange{'=', "lrswiktea"}},
		{"+cda", RightsChange{'+', "kxtea"}},
		{"-etd", RightsChange{'-', "te"}},
		{"aalrc", RightsChange{'=', "lrkxa"}},
		{`""`, RightsChange{'=', ""}},
		{"+", RightsChange{'+', ""}},
		{`"-"`, RightsChange{'-', ""}},
		{"{2+}\r\nlr", RightsChange{'=', "lr"}},
	} {
		d := args(t, " INBOX Fred "+c.in+"\r\n")
		mailbox, identifier, change, err := d.SetACLArgs()
		if err != nil || mailbox != "INBOX" || identifier != "Fred" || change != c.want {
			t.Errorf("%s: %q %q %+v %v", c.in, mailbox, identifier, change, err)
		}
	}
	for _, in := range []string{"L", "lr0", "q", "--l", "+-l", "l r", "", "é"} {
		d := args(t, " INBOX Fred "+in+"\r\n")
		if _, _, change, err := d.SetACLArgs(); err == nil {
			t.Errorf("%q is %+v", in, change)
		}
	}
	for rights, want := range map[string]string{"": "", "lr": "lr", "k": "kc", "x": "xc", "t": "td", "lre": "lred", Rights: Rights + "cd"} {
		if got := WithObsoleteRights(rights); got != want {
			t.Errorf("%q is shown as %q", rights, got)
		}
	}
}
