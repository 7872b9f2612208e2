package imap

import (
	"bufio"
	"embed"
	"fmt"
	"io"
	"net"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/tests/harness"
)

// scripts are conversations, each with an account of its own: "1> " and a command on connection 1, then all that is answered, the tagged line
// without its tag. «…» is a literal, ¶ in it CRLF; … stands for anything, alone on a line for any lines; $(name) is what it was where it was met
// first; texts for humans are left out.
//
//go:embed testdata/scripts
var scripts embed.FS

func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := scripts.ReadDir("testdata/scripts")
	require.NoError(t, err)
	var accounts []string
	for _, f := range files {
		accounts = append(accounts, f.Name())
	}
	s := harness.Start(t, harness.Options{Accounts: accounts, Args: cheapPasswords})
	for _, name := range accounts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			content, err := scripts.ReadFile(path.Join("testdata/scripts", name))
			require.NoError(t, err)
			p := &play{t: t, s: s, account: name, known: map[string]string{}, speakers: map[string]*speaker{}}
			var command string
			var want []string
			for n, line := range strings.Split(strings.TrimSpace(string(content))+"\n# end", "\n") {
				said, isCommand := commandLine.FindString(line), commandLine.MatchString(line)
				if command != "" && (isCommand || strings.HasPrefix(line, "#")) {
					p.exchange(command, want)
					command, want = "", nil
				}
				switch {
				case isCommand:
					command = said
				case line != "" && !strings.HasPrefix(line, "#"):
					require.NotEmpty(t, command, "line %d", n+1)
					want = append(want, line)
				}
			}
		})
	}
}

var commandLine = regexp.MustCompile(`^\d> .*`)

// play is a script being played.
type play struct {
	t        *testing.T
	s        *harness.System
	account  string
	known    map[string]string // $(name)
	speakers map[string]*speaker
}

type speaker struct {
	conn net.Conn
	r    *bufio.Reader
	n    int
}

// exchange sends a command and compares what is answered.
func (p *play) exchange(said string, want []string) {
	p.t.Helper()
	who, command, _ := strings.Cut(said, "> ")
	c := p.speakers[who]
	if c == nil {
		conn := p.s.Wire(p.t, p.s.IMAPS[0], true).Conn
		c = &speaker{conn: conn, r: bufio.NewReader(conn)}
		p.speakers[who] = c
		_, err := c.line()
		require.NoError(p.t, err)
		require.Equal(p.t, "OK", p.say(c, fmt.Sprintf("LOGIN %s %q", harness.Address(p.account), harness.Password))[0][:2])
	}
	for name, value := range p.known {
		command = strings.ReplaceAll(command, "$("+name+")", value)
	}
	got := p.say(c, command)
	if !p.fits(got, want) {
		p.t.Fatalf("%s\n%s\nwant:\n%s", said, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// say sends a command and gives the answer.
func (p *play) say(c *speaker, command string) []string {
	p.t.Helper()
	c.n++
	tag := fmt.Sprintf("t%d ", c.n)
	command = literalText.ReplaceAllStringFunc(command, func(s string) string {
		s = strings.ReplaceAll(s[len("«"):len(s)-len("»")], "¶", "\r\n")
		return fmt.Sprintf("{%d+}\r\n%s", len(s), s)
	})
	require.NoError(p.t, c.conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err := io.WriteString(c.conn, tag+command+"\r\n")
	require.NoError(p.t, err)
	var out []string
	for {
		line, err := c.line()
		require.NoError(p.t, err, "%s: %q", command, out)
		if rest, ok := strings.CutPrefix(line, tag); ok {
			return append(out, forHumans.ReplaceAllString(rest, "$1"))
		}
		if out = append(out, line); strings.HasPrefix(line, "+") {
			return out
		}
	}
}

var (
	literalText  = regexp.MustCompile("«[^»]*»")
	literalStart = regexp.MustCompile(`~?\{(\d+)\}$`)
	forHumans    = regexp.MustCompile(`^((?:OK|NO|BAD)(?: \[[^\]]*\])?).*`)
)

// line reads a line with its literals.
func (c *speaker) line() (string, error) {
	whole := ""
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return whole + line, err
		}
		line = strings.TrimSuffix(line, "\r\n")
		m := literalStart.FindStringSubmatch(line)
		if m == nil {
			return whole + line, nil
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return whole, err
		}
		literal := make([]byte, n)
		if _, err := io.ReadFull(c.r, literal); err != nil {
			return whole, err
		}
		whole += strings.TrimSuffix(line, m[0]) + "«" + strings.ReplaceAll(string(literal), "\r\n", "¶") + "»"
	}
}

var pattern = regexp.MustCompile(`…|\$\((\w+)\)`)

// fits compares an answer, and learns names.
func (p *play) fits(got, want []string) bool {
	var expression strings.Builder
	var names []string
	for _, line := range want {
		if line == "…" {
			expression.WriteString("(?:.*\n)*?")
			continue
		}
		at := 0
		for _, m := range pattern.FindAllStringSubmatchIndex(line, -1) {
			expression.WriteString(regexp.QuoteMeta(line[at:m[0]]))
			at = m[1]
			if m[2] < 0 {
				expression.WriteString(".*?")
				continue
			}
			name := line[m[2]:m[3]]
			if value, known := p.known[name]; known {
				expression.WriteString(regexp.QuoteMeta(value))
				continue
			}
			names = append(names, name)
			expression.WriteString(`([^\s()\]]+)`)
		}
		expression.WriteString(regexp.QuoteMeta(line[at:]) + "\n")
	}
	found := regexp.MustCompile("^" + expression.String() + "$").FindStringSubmatch(strings.Join(got, "\n") + "\n")
	for i, name := range names {
		if found != nil {
			p.known[name] = found[i+1]
		}
	}
	return found != nil
}
