package session

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// threaded delivers mails given as "id subject <- references"; the one without id has no Message-ID. Each is a day later than the one before.
func threaded(g *gateway, mails ...string) {
	for i, m := range mails {
		head, references, _ := strings.Cut(m, " <- ")
		id, subject, _ := strings.Cut(head, " ")
		header := fmt.Sprintf("Date: %d Mar 2000 10:00:00 +0000\r\nSubject: %s\r\n", i+1, subject)
		if id != "" {
			header += "Message-ID: <" + id + "@x>\r\n"
		}
		if refs := strings.Fields(references); len(refs) > 0 {
			header += "References: <" + strings.Join(refs, "@x>\r\n <") + "@x>\r\n"
		}
		g.storage.deliver("INBOX", header+"\r\nbody\r\n")
	}
}

// TestThreadReferences: RFC 5256 section 3, each step of REFERENCES.
func TestThreadReferences(t *testing.T) {
	for name, c := range map[string]struct {
		mails []string
		want  string
	}{
		"a conversation":                      {[]string{"a hello", "b Re: hello <- a", "c Re: hello <- a b"}, "(1 2 3)"},
		"branches":                            {[]string{"a hello", "b Re: hello <- a", "c Re: hello <- a", "d Re: hello <- a b"}, "(1 (2 4)(3))"},
		"the answer came first":               {[]string{"b Re: hello <- a", "a hello"}, "(2 1)"},
		"a missing parent of two":             {[]string{"b one <- a", "c two <- a"}, "((1)(2))"},
		"a missing parent of one":             {[]string{"b one <- a"}, "(1)"},
		"missing ones between are passed":     {[]string{"a one", "d two <- a b c", "e three <- a b"}, "(1 (2)(3))"},
		"missing ones above one another":      {[]string{"d two <- a b c", "e three <- a b"}, "((1)(2))"},
		"no references, no parent":            {[]string{"a one", "c three <- a b", "b two"}, "(1)(3 2)"},
		"a message knows its parent best":     {[]string{"a one", "x two", "c three <- x b", "b four <- a"}, "(1 4 3)(2)"},
		"no loops":                            {[]string{"a one <- b", "b two <- a"}, "(2 1)"},
		"no message is its own parent":        {[]string{"a one <- a", "b two <- a b"}, "(1)(2)"},
		"two messages of one id":              {[]string{"a one", "a two", "b three <- a"}, "(1 3)(2)"},
		"messages without id":                 {[]string{" one", " two", "b three <- a"}, "(1)(2)(3)"},
		"siblings and roots are in order":     {[]string{"z late", "y Re: x <- r", "x x <- r", "r x"}, "(1)(4 (2)(3))"},
		"an answer without references":        {[]string{"a hello", "b Re: hello"}, "(1 2)"},
		"two answers to nothing":              {[]string{"a Re: hello", "b Fwd: [list] hello"}, "((1)(2))"},
		"the same subject twice":              {[]string{"a hello", "b hello"}, "((1)(2))"},
		"the same subject three times":        {[]string{"a hello", "b hello", "c hello"}, "((1)(2)(3))"},
		"an answer before what it answers":    {[]string{"a Re: hello", "b hello", "c Re: hello"}, "(2 (1)(3))"},
		"a message joins a missing parent":    {[]string{"b hello <- a", "c hello <- a", "d hello"}, "((1)(2)(3))"},
		"a missing parent comes later":        {[]string{"d Re: hello", "b hello <- a", "c hello <- a"}, "((1)(2)(3))"},
		"two missing parents with a subject":  {[]string{"b hello <- a", "c hello <- a", "e hello <- d", "f hello <- d"}, "((1)(2)(3)(4))"},
		"empty subjects stay apart":           {[]string{"a ", "b Re:"}, "(1)(2)"},
		"a subject is folded":                 {[]string{"a HELLO", "b re: hello"}, "(1 2)"},
		"ids differ by quotes only":           {[]string{"a one", `b two <- "a"`}, "(1 2)"},
		"threads in order of the first":       {[]string{"b one <- a", "z two", "c one <- a"}, "((1)(3))(2)"},
		"a subject within a thread is no key": {[]string{"a one", "b two <- a", "c two"}, "(1 2)(3)"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			threaded(g, c.mails...)
			k := g.selected("INBOX")
			k.expect("THREAD REFERENCES UTF-8 ALL", "* THREAD "+c.want, "OK THREAD completed")
		})
	}
}

// TestThreadReferencesAnswer: the example of the response in RFC 5256 section 4: message 6 answers 3, 4 and 44 answer 6.
func TestThreadReferencesAnswer(t *testing.T) {
	g := newGateway(t)
	parents := map[int]string{2: "", 3: "", 6: "3", 4: "6", 23: "4", 44: "6", 7: "44", 96: "7"}
	for n := 1; n <= 96; n++ {
		header := fmt.Sprintf("Message-ID: <%d@x>\r\nSubject: %d\r\n", n, n)
		parent, threaded := parents[n]
		if parent != "" {
			header += "In-Reply-To: <" + parent + "@x>\r\n"
		}
		if threaded {
			header += "X-Wanted: yes\r\n"
		}
		g.storage.deliver("INBOX", header+"\r\nbody\r\n")
	}
	k := g.selected("INBOX")
	k.expect("THREAD REFERENCES UTF-8 HEADER X-Wanted yes", "* THREAD (2)(3 6 (4 23)(44 7 96))", "OK THREAD completed")
	k.ok(`STORE 1 +FLAGS.SILENT (\Deleted)`)
	k.ok("EXPUNGE")
	k.expect("UID THREAD REFERENCES UTF-8 UID 2:6,23", "* THREAD (2)(3 6 4 23)(5)", "OK UID THREAD")
	k.expect("THREAD REFERENCES UTF-8 FLAGGED", "* THREAD", "OK")
}

// TestThreaderLimits: messages that refer to each other in the most laborious way are refused, long conversations are not.
func TestThreaderLimits(t *testing.T) {
	const n = maxSorted
	chain := newThreader()
	for i := range n { // the newest first
		chain.add(&sortable{index: i, sent: int64(n - i)}, fmt.Sprint(n-i), []string{fmt.Sprint(n - i - 1)}, false)
	}
	threads, err := chain.threads()
	if err != nil || len(threads) != 1 {
		t.Fatalf("a long chain: %d threads, %v", len(threads), err)
	}
	depth := 1
	for c := threads[0]; len(c.children) > 0; c = c.children[0] {
		depth++
	}
	if depth != n {
		t.Errorf("a chain of %d", depth)
	}
	many := newThreader()
	for i := range n / 5 {
		refs := make([]string, 32)
		for j := range refs {
			refs[j] = fmt.Sprint(i, " ", j)
		}
		many.add(&sortable{index: i}, fmt.Sprint(i), refs, false)
	}
	if _, err := many.threads(); err == nil {
		t.Error("any number of ids is kept")
	}
	deep := newThreader()
	for i := range n / 2 {
		deep.add(&sortable{index: i}, fmt.Sprint(i), []string{fmt.Sprint(i - 1)}, false)
	}
	for i := range n / 100 {
		// Whether the end of the chain is below what has a child already takes the whole chain to find out.
		deep.add(&sortable{index: n/2 + i}, "", []string{fmt.Sprint("x", i), fmt.Sprint("y", i)}, false)
		deep.add(&sortable{index: n/2 + i}, "", []string{fmt.Sprint(n/2 - 1), fmt.Sprint("x", i)}, false)
	}
	if _, err := deep.threads(); err == nil {
		t.Errorf("%d steps are made", deep.steps)
	}
}

// FuzzThreader: whatever refers to what, each message is in exactly one thread.
func FuzzThreader(f *testing.F) {
	f.Add([]byte("\x01\x02\x03\x00\x02\x01\x00\x03\x01\x02\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		th := newThreader()
		total := 0
		for entry := range slices.Values(strings.Split(string(data), "\x00")) {
			var refs []string
			for i := 1; i < len(entry) && i < 32; i++ {
				refs = append(refs, entry[i:i+1])
			}
			m := &sortable{index: total, sent: int64(len(entry) % 5), text: &[textFacts]string{}}
			m.text[factSubject.index()] = strings.Repeat("s", total%3)
			id := ""
			if entry != "" {
				id = entry[:1]
			}
			th.add(m, id, refs, total%2 == 0)
			total++
		}
		threads, err := th.threads()
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int]bool{}
		for queue := threads; len(queue) > 0; queue = queue[1:] {
			c := queue[0]
			if c.message == nil && len(c.children) < 2 {
				t.Fatal("a dummy of less than two")
			}
			if c.message != nil && seen[c.message.index] {
				t.Fatalf("message %d is there twice", c.message.index)
			}
			if c.message != nil {
				seen[c.message.index] = true
			}
			queue = append(queue, c.children...)
		}
		if len(seen) != total {
			t.Fatalf("%d of %d messages", len(seen), total)
		}
	})
}
