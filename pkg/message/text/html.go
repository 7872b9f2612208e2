package text

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// maxToken bounds a token of HTML that is held in memory.
const maxToken = 256 << 10

// HTMLText reads the text of an HTML document (UTF-8): no tags, comments, scripts, styles or titles; character
// references decoded; block elements and line breaks become line ends. Its errors are those of r.
func HTMLText(r io.Reader) io.Reader {
	h := &htmlReader{src: r}
	h.restart(nil)
	return h
}

type htmlReader struct {
	src  io.Reader
	z    *html.Tokenizer
	skip atom.Atom // the element whose content is left out, 0 if none
	out  bytes.Buffer
	err  error
}

// restart begins a new tokenizer: with what the last one had buffered, if a token was too long for it.
func (h *htmlReader) restart(buffered []byte) {
	if len(buffered) > 0 {
		h.src = io.MultiReader(bytes.NewReader(bytes.Clone(buffered)), h.src)
	}
	h.z = html.NewTokenizer(h.src)
	h.z.SetMaxBuf(maxToken)
}

func (h *htmlReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for h.out.Len() == 0 {
		if h.err != nil {
			return 0, h.err
		}
		h.token()
	}
	return h.out.Read(p)
}

func (h *htmlReader) token() {
	switch h.z.Next() {
	case html.ErrorToken:
		if err := h.z.Err(); errors.Is(err, html.ErrBufferExceeded) {
			h.restart(h.z.Buffered())
		} else {
			h.err = err
		}
	case html.TextToken:
		if h.skip == 0 {
			h.out.Write(h.z.Text())
		}
	case html.StartTagToken:
		tag := h.tag()
		if h.skip == 0 && isSkipped(tag) {
			h.skip = tag
		}
		h.separate(tag)
	case html.EndTagToken:
		tag := h.tag()
		if tag == h.skip {
			h.skip = 0
		}
		h.separate(tag)
	case html.SelfClosingTagToken:
		h.separate(h.tag())
	}
}

func (h *htmlReader) tag() atom.Atom {
	name, _ := h.z.TagName()
	return atom.Lookup(name)
}

func (h *htmlReader) separate(tag atom.Atom) {
	if h.skip != 0 {
		return
	}
	switch tag {
	case atom.Td, atom.Th:
		h.out.WriteByte(' ')
	case atom.P, atom.Div, atom.Br, atom.Hr, atom.Tr, atom.Table, atom.Li, atom.Ul, atom.Ol, atom.Dl, atom.Dt, atom.Dd,
		atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Blockquote, atom.Pre, atom.Section, atom.Article,
		atom.Header, atom.Footer, atom.Center, atom.Address, atom.Body, atom.Head, atom.Option:
		h.out.WriteByte('\n')
	}
}

func isSkipped(tag atom.Atom) bool {
	switch tag {
	case atom.Script, atom.Style, atom.Title, atom.Noembed, atom.Noframes, atom.Iframe:
		return true
	}
	return false
}
