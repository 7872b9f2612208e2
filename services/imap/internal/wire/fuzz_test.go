package wire

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// run reads commands as a session does, until the input ends or the decoder gives up.
func run(t *testing.T, input []byte, lim Limits) (commands int) {
	t.Helper()
	d := NewDecoder(strings.NewReader(string(input)), NewGrammar(), lim)
	d.Continue = func() error { return nil }
	for {
		if err := d.Wait(); err != nil {
			return commands
		}
		// Each command consumes at least its first octet.
		if commands++; commands > len(input) {
			t.Fatalf("%d commands in %d octets", commands, len(input))
		}
		_, name, err := d.Command()
		if err == nil {
			err = runCommand(d, name)
		}
		if err != nil {
			_, syntax := errors.AsType[*SyntaxError](err)
			_, refused := errors.AsType[*RefusedError](err)
			if !syntax && !refused && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("error of an unknown kind: %v", err)
			}
		}
		if err := d.Discard(); err != nil {
			if _, bye := errors.AsType[*ByeError](err); !bye && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("Discard: %v", err)
			}
			return commands
		}
		if d.active || d.lit.pending {
			t.Fatal("not at the start of a command after Discard")
		}
	}
}

func runCommand(d *Decoder, name string) (err error) {
	switch strings.TrimPrefix(name, "UID ") {
	case "LOGIN":
		_, _, err = d.LoginArgs()
	case "AUTHENTICATE":
		_, err = d.AuthenticateArgs()
	case "ENABLE":
		_, err = d.EnableArgs()
	case "ID":
		_, err = d.IDArgs()
	case "SELECT":
		_, err = d.SelectArgs()
	case "CREATE":
		_, err = d.CreateArgs()
	case "DELETE":
		_, err = d.MailboxArg()
	case "SETQUOTA":
		_, err = d.SetQuotaArgs()
	case "RENAME":
		_, _, err = d.RenameArgs()
	case "LIST":
		_, err = d.ListArgs()
	case "STATUS":
		_, err = d.StatusArgs()
	case "FETCH":
		_, err = d.FetchArgs()
	case "STORE":
		_, err = d.StoreArgs()
	case "SEARCH":
		_, err = d.SearchArgs()
	case "ESEARCH":
		_, err = d.ESearchArgs()
	case "NOTIFY":
		_, err = d.NotifyArgs()
	case "SORT":
		_, err = d.SortArgs()
	case "THREAD":
		_, err = d.ThreadArgs()
	case "COPY":
		_, err = d.CopyArgs()
	case "EXPUNGE":
		_, err = d.SetArg()
	case "IDLE":
		if err = d.End(); err == nil {
			_, err = d.Line()
		}
	case "APPEND":
		err = runAppend(d)
	case "GETMETADATA":
		_, _, err = d.GetMetadataArgs()
	case "SETACL":
		var change RightsChange
		_, _, change, err = d.SetACLArgs()
		for _, r := range change.Rights {
			if err == nil && !strings.ContainsRune(Rights, r) {
				panic("the right " + string(r) + " was let through")
			}
		}
	case "LISTRIGHTS":
		_, _, err = d.ACLArgs()
	case "SETMETADATA":
		_, _, err = d.SetMetadataArgs()
	case "REPLACE":
		err = runReplace(d)
	default:
		err = d.End()
	}
	return err
}

func runAppend(d *Decoder) error {
	d.AppendMailbox()
	for {
		m, err := d.AppendMessage()
		if err != nil {
			return err
		}
		if m.Size > 1000 {
			return &RefusedError{Code: "TOOBIG"}
		}
		if m.Catenate {
			err = runCatenate(d)
		} else {
			err = readHalf(d, m.Size)
		}
		if err != nil {
			return err
		}
		if !d.AppendMore() {
			return d.End()
		}
	}
}

func readHalf(d *Decoder, size int64) error {
	r, err := d.Literal()
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, r, size/2)
	return err
}

func runCatenate(d *Decoder) error {
	for {
		part, more, err := d.CatenatePart()
		if err != nil || !more {
			return err
		}
		if part.URL == "" {
			err = readHalf(d, part.Size)
		}
		if err != nil {
			return err
		}
	}
}

func runReplace(d *Decoder) error {
	d.ReplaceTarget()
	if _, err := d.AppendMessage(); err != nil {
		return err
	}
	if _, err := d.Literal(); err != nil {
		return err
	}
	return d.ReplaceEnd()
}

func FuzzCommands(f *testing.F) {
	for _, s := range []string{
		"a LOGIN {5}\r\nalice {3+}\r\npwd\r\nb SELECT INBOX\r\n",
		"a FETCH 1:* (FLAGS BODY.PEEK[1.HEADER.FIELDS (A B)]<0.9> BINARY.SIZE[1])\r\nb LOGOUT\r\n",
		"a APPEND x (\\Seen) \"17-Jul-1996 02:44:25 -0700\" {5+}\r\nhello ~{2}\r\nhi UTF8 (~{1+}\r\nx)\r\n",
		"a SORT RETURN (MIN) (REVERSE DATE SUBJECT) UTF-8 SINCE 1-Feb-1994\r\nb UID THREAD ORDEREDSUBJECT US-ASCII ALL (SEEN)\r\n",
		"a GETMETADATA (DEPTH infinity MAXSIZE 9) \"\" (/private /shared/x)\r\nb GETMETADATA x (DEPTH 1) /private\r\nc SETMETADATA x (/private/a ~{3+}\r\na\x00b /private/b NIL)\r\n",
		"a REPLACE * x (\\Draft) {5+}\r\nhello\r\nb UID REPLACE 4 x UTF8 (~{5+}\r\nhello)\r\nc REPLACE 1 x {1+}\r\na {1+}\r\nb\r\n",
		"a APPEND x CATENATE (URL \"/INBOX/;UID=1\" TEXT {5+}\r\nhello URL {2+}\r\n/x TEXT {0+}\r\n) (\\Seen) {1+}\r\na\r\n",
		"a ESEARCH IN (selected mailboxes (a \"b\") subtree-one c) RETURN (COUNT) OR SEEN 1:*\r\nb ESEARCH ALL\r\n",
		"a SETACL INBOX Fred +lrcd\r\nb SETACL \"Other Users/a@b/c\" {4+}\r\nFred \"\"\r\nc LISTRIGHTS x anyone\r\n",
		"a NOTIFY SET STATUS (selected (MessageNew (UID BODY.PEEK[1]) MessageExpunge)) (subtree (a b) NONE)\r\nb NOTIFY NONE\r\n",
		"a LIST (SUBSCRIBED) \"\" (\"%\" {1+}\r\n*) RETURN (STATUS (MESSAGES))\r\n",
		"a UID SEARCH RETURN (MIN) CHARSET UTF-8 OR (1:* NOT SEEN) $ HEADER x {1+}\r\ny\r\n",
		"a STORE 1 +FLAGS.SILENT (\\Deleted)\r\na SETQUOTA \"\" (STORAGE 1)\r\na ID (\"a\" NIL)\r\n",
		"a IDLE\r\nDONE\r\na X (((((((((((((( {3+}\r\nabc {2}\r\n",
		"a CREATE x (USE (\\Sent))\r\na AUTHENTICATE PLAIN =\r\na ENABLE X\r\na LOGIN {99999999+}\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		run(t, input, Limits{})
		run(t, input, Limits{Line: 64, Command: 100, Literal: 20, Depth: 3, Items: 10, Discard: 200})
	})
}

func FuzzSearch(f *testing.F) {
	for _, s := range []string{"OR (SEEN 1:*) NOT UID $", "RETURN (MIN SAVE) CHARSET ISO-2022-JP BODY x", "HEADER a {1+}\r\nb", "((((1))))", "NOT NOT NOT 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := newDecoder("a SEARCH " + s + "\r\n")
		if _, _, err := d.Command(); err != nil {
			t.Fatal(err)
		}
		a, err := d.SearchArgs()
		if err != nil {
			return
		}
		nodes, depth := measure(a.Key)
		if nodes > 3*maxSearchKeys || depth > 2*DefaultLimits().Depth+2 {
			t.Fatalf("%d nodes, %d deep", nodes, depth)
		}
	})
}

// measure also checks what sessions rely on.
func measure(k SearchKey) (nodes, depth int) {
	want := map[SearchOp]int{SearchOr: 2, SearchNot: 1}
	if n, ok := want[k.Op]; ok && len(k.Keys) != n {
		panic("wrong number of keys")
	}
	nodes, depth = 1, 1
	for _, c := range k.Keys {
		n, d := measure(c)
		nodes += n
		depth = max(depth, d+1)
	}
	return nodes, depth
}

func FuzzFetch(f *testing.F) {
	for _, s := range []string{"1 ALL", "1:* (UID BODY[1.2.MIME]<1.2>)", "$ BINARY.PEEK[1]", "2 BODY[HEADER.FIELDS.NOT (a {1+}\r\nb)]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := newDecoder("a FETCH " + s + "\r\n")
		if _, _, err := d.Command(); err != nil {
			t.Fatal(err)
		}
		a, err := d.FetchArgs()
		if err != nil {
			return
		}
		if len(a.Items) == 0 || len(a.Set.Ranges) == 0 && !a.Set.SearchRes {
			t.Fatalf("%q: %+v", s, a)
		}
	})
}

func FuzzNumSet(f *testing.F) {
	f.Add("1:*,5,*:3,4294967295", uint32(10))
	f.Add("*", uint32(0))
	f.Fuzz(func(t *testing.T, s string, limit uint32) {
		d := newDecoder("a X " + s + "\r\n")
		if _, _, err := d.Command(); err != nil {
			t.Fatal(err)
		}
		set, err := d.SetArg()
		if err != nil {
			return
		}
		ranges := set.Resolve(limit)
		for i, r := range ranges {
			if r.Start == 0 || r.Start > r.Stop || i > 0 && uint64(r.Start) <= uint64(ranges[i-1].Stop)+1 {
				t.Fatalf("%q of %d: %v", s, limit, ranges)
			}
		}
		if len(ranges) == 0 {
			return
		}
		// A resolved set reads back as itself.
		d = newDecoder("a X " + string(AppendRanges(nil, ranges)) + "\r\n")
		if _, _, err := d.Command(); err != nil {
			t.Fatal(err)
		}
		again, err := d.SetArg()
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Resolve(0); string(AppendRanges(nil, got)) != string(AppendRanges(nil, ranges)) {
			t.Fatalf("%v, then %v", ranges, got)
		}
	})
}

// What the encoder writes as a string, a decoder reads as the same string.
func FuzzString(f *testing.F) {
	f.Add("a\"b\\c", true)
	f.Add("日本\r\n", false)
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		d := newDecoder("a X " + string(AppendAString(nil, s, utf8)) + "\r\n")
		if _, _, err := d.Command(); err != nil {
			t.Fatal(err)
		}
		got, err := d.AStringArg()
		if want := strings.ReplaceAll(s, "\x00", " "); len(s) < 60000 && (got != want || err != nil) {
			t.Fatalf("%q: %q, %v", s, got, err)
		}
	})
}
