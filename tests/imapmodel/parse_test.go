package imapmodel

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// value is a word, a string or a list in a response.
type value struct {
	text string
	list []value // of a list; not nil then
}

// readResponse reads a line with the literals in it. In the text a literal stands behind its "{n}" and CRLF.
func readResponse(r *bufio.Reader) (string, error) {
	var out strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return out.String() + line, err
		}
		m := literalEnd.FindStringSubmatch(line)
		if m == nil {
			return out.String() + strings.TrimSuffix(line, "\r\n"), nil
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return "", err
		}
		octets := make([]byte, n)
		if _, err := io.ReadFull(r, octets); err != nil {
			return "", err
		}
		out.WriteString(line)
		out.Write(octets)
	}
}

var literalEnd = regexp.MustCompile(`\{(\d+)\}\r\n$`)

// parse reads the values of a response.
func parse(text string) (out []value, err error) {
	p := parser{text}
	for err == nil && p.text != "" {
		var v value
		if v, err = p.value(); err == nil {
			out = append(out, v)
			p.text = strings.TrimPrefix(p.text, " ")
		}
	}
	return out, err
}

type parser struct{ text string }

func (p *parser) value() (value, error) {
	switch {
	case p.text == "":
		return value{}, io.ErrUnexpectedEOF
	case p.text[0] == '(':
		return p.listed()
	case p.text[0] == '"':
		var b strings.Builder
		for i := 1; i < len(p.text); i++ {
			switch c := p.text[i]; c {
			case '"':
				p.text = p.text[i+1:]
				return value{text: b.String()}, nil
			case '\\':
				i++
				fallthrough
			default:
				b.WriteByte(p.text[i])
			}
		}
		return value{}, io.ErrUnexpectedEOF
	case p.text[0] == '{':
		head, rest, _ := strings.Cut(p.text, "\r\n")
		n, err := strconv.Atoi(strings.Trim(head, "{}"))
		if err != nil || n > len(rest) {
			return value{}, fmt.Errorf("literal %q", head)
		}
		p.text = rest[n:]
		return value{text: rest[:n]}, nil
	}
	depth, i := 0, 0
	for ; i < len(p.text); i++ {
		c := p.text[i]
		if c == '[' {
			depth++
		} else if c == ']' {
			depth--
		} else if depth == 0 && (c == ' ' || c == '(' || c == ')') {
			break
		}
	}
	if i == 0 {
		return value{}, fmt.Errorf("%q is no value", p.text)
	}
	word := p.text[:i]
	p.text = p.text[i:]
	return value{text: word}, nil
}

func (p *parser) listed() (value, error) {
	out := value{list: []value{}}
	p.text = p.text[1:]
	for {
		if strings.HasPrefix(p.text, ")") {
			p.text = p.text[1:]
			return out, nil
		}
		v, err := p.value()
		if err != nil {
			return out, err
		}
		out.list = append(out.list, v)
		p.text = strings.TrimPrefix(p.text, " ")
	}
}

// number reads one that must be there.
func (v value) number() (uint64, error) { return strconv.ParseUint(v.text, 10, 63) }

func (v value) texts() []string {
	out := make([]string, len(v.list))
	for i, w := range v.list {
		out[i] = w.text
	}
	return out
}

// code gives the response code of a status text, without brackets.
func code(text string) string {
	if !strings.HasPrefix(text, "[") {
		return ""
	}
	c, _, _ := strings.Cut(text[1:], "]")
	return c
}

// expand reads a set of numbers in its order.
func expand(set string) ([]uint32, error) {
	var out []uint32
	if set == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(set, ",") {
		first, last, ranged := strings.Cut(part, ":")
		if !ranged {
			last = first
		}
		a, err := strconv.ParseUint(first, 10, 32)
		if err != nil {
			return nil, err
		}
		b, err := strconv.ParseUint(last, 10, 32)
		if err != nil {
			return nil, err
		}
		if a > b {
			a, b = b, a
		}
		for n := a; n <= b; n++ {
			out = append(out, uint32(n))
		}
	}
	return out, nil
}
