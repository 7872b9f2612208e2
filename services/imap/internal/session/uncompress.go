package session

import (
	"bytes"
	"errors"
	"io"

	"github.com/yubin-mail/yubin/services/imap/internal/inflate"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// uncompress ends compression in both directions behind a tagged OK, which it sends: RFC 8437 section 4.1. What the client had to say compressed ended with its
// command; how its compressor ended may still be on its way.
func (s *session) uncompress(code, text string) error {
	if s.dec.Buffered() > 0 {
		return &wire.ByeError{Text: "what follows UNAUTHENTICATE must not be compressed"}
	}
	err := s.enc.Flush()
	// The block with the answer is the final one, by which a client that reads ahead finds out where the rest begins.
	s.compression.out.ends = true
	s.enc.Tagged(s.tag, wire.StatusOK, code, text)
	if err = errors.Join(err, s.enc.Flush()); err != nil {
		return &brokenError{err}
	}
	s.compression = compression{left: &plainAgain{raw: s.conn, compressed: s.compression.in.plain}}
	s.dec.Reset(s.compression.left)
	s.enc.Reset(s.conn)
	return nil
}

// plainAgain reads what a client sends that has left off compressing. Its compressor's end is skipped: that of the final block, or of a flush, behind which
// the final block may still come by itself, as compressors say it that are closed.
type plainAgain struct {
	raw        io.Reader
	compressed *inflate.Reader // nil: it has ended
	ahead      []byte          // what follows, as far as it was read
	begun      bool            // the client has said something that is not compressed
}

// Read implements io.Reader. Errors: *wire.ByeError for what cannot be read, those of the connection.
func (r *plainAgain) Read(p []byte) (int, error) {
	for {
		if r.compressed != nil {
			if err := r.end(); err != nil {
				return 0, err
			}
		}
		n, err := r.next(p)
		if n == 0 || r.begun {
			return n, err
		}
		if r.begun = !beginsFinalBlock(p[0]); r.begun {
			return n, err
		}
		src := io.MultiReader(bytes.NewReader(append(bytes.Clone(p[:n]), r.ahead...)), r.raw)
		r.compressed, r.ahead = inflate.NewReader(src), nil
	}
}

func (r *plainAgain) end() error {
	rest, final, err := r.compressed.End()
	if errors.Is(err, inflate.ErrCorrupt) {
		return &wire.ByeError{Text: "compressed data is damaged, or has no end"}
	}
	if err == nil {
		r.compressed, r.ahead, r.begun = nil, rest, final
	}
	return err
}

func (r *plainAgain) next(p []byte) (int, error) {
	if len(r.ahead) == 0 {
		return r.raw.Read(p)
	}
	n := copy(p, r.ahead)
	if r.ahead = r.ahead[n:]; len(r.ahead) == 0 {
		r.ahead = nil
	}
	return n, nil
}

// beginsFinalBlock tells the head of a final block without anything in it (RFC 1951 section 3.2.3) from the first octet of a command.
func beginsFinalBlock(c byte) bool { return c == 0b001 || c == 0b011 }
