package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/yubin-mail/yubin/services/imap/internal/inflate"
	"github.com/yubin-mail/yubin/services/imap/internal/wire"
)

// COMPRESS=DEFLATE: RFC 4978. UNAUTHENTICATE ends it: uncompress.go.
func init() {
	register(extension{
		capabilities: []capability{{name: "COMPRESS=DEFLATE", when: func(s *session) bool { return s.Limits.Compress && whenLoggedIn(s) && !s.compressed }}},
		commands:     []command{{name: "COMPRESS", states: loggedIn, run: runCompress}},
	})
}

func runCompress(_ context.Context, s *session) (reply, error) {
	mechanism, err := s.dec.AStringArg()
	switch {
	case err != nil:
		return reply{}, err
	case !s.Limits.Compress:
		return reply{}, bad("COMPRESS is not offered")
	case !strings.EqualFold(mechanism, "DEFLATE"):
		return reply{}, bad("unknown compression mechanism")
	case s.compressed:
		// Section 3: NO is for another layer that compresses.
		return reply{}, &wire.SyntaxError{Code: "COMPRESSIONACTIVE", Text: "COMPRESS is active already"}
	case s.dec.Buffered() > 0:
		// RFC 4978 section 3: nothing may be sent before the answer, as it decides how that would have to be read.
		return reply{}, bad("COMPRESS must not be pipelined")
	}
	if s.box != nil {
		if err := s.tell(true, false); err != nil {
			return reply{}, err
		}
	}
	s.enc.Tagged(s.tag, wire.StatusOK, "", "DEFLATE active")
	if err := s.enc.Flush(); err != nil {
		return reply{}, &brokenError{err}
	}
	s.compressed = true
	s.compression = compression{in: newInflater(s.conn, s.Limits.MessageSize), out: &deflater{w: s.conn}}
	s.dec.Reset(s.compression.in)
	s.enc.Reset(s.compression.out)
	return reply{}, errSent
}

// compression is what COMPRESS has put between a session and its connection: in and out while it is active, left where it ended.
type compression struct {
	in   *inflater
	out  *deflater
	left *plainAgain
}

// readsAgain tells whether a read that failed may be made again, which an inflater does not survive.
func (s *session) readsAgain() bool {
	return !s.compressed && (s.compression.left == nil || s.compression.left.begun)
}

const (
	// inflateRatio is how many octets a client may get out of one octet that it sends, on the average. Mail gives 3 to 10.
	inflateRatio = 100
	// inflateSpare is what a client may be beyond that, besides one message of the largest size.
	inflateSpare = 1 << 20
	// deflateWindow is how much of what was sent before serves to compress what follows.
	deflateWindow = 8 << 10
	// deflatePiece is how much is compressed at a time.
	deflatePiece = 16 << 10
)

// inflater reads what a client has compressed, however it flushes: RFC 4978 section 4 has Z_PARTIAL_FLUSH and others in mind.
type inflater struct {
	raw   *countingReader
	plain *inflate.Reader
	// owed is by how much the client exceeds the ratio, in octets, spare what it may.
	owed, spare int64
	paid        int64 // octets of raw that were set against owed
}

func newInflater(r io.Reader, messageSize int64) *inflater {
	raw := &countingReader{r: r}
	return &inflater{raw: raw, plain: inflate.NewReader(raw), spare: messageSize + inflateSpare}
}

// Read implements io.Reader. Errors: *wire.ByeError for what cannot be read, those of the connection.
func (f *inflater) Read(p []byte) (int, error) {
	n, err := f.plain.Read(p)
	if errors.Is(err, inflate.ErrCorrupt) {
		err = &wire.ByeError{Text: "compressed data is damaged"}
	}
	f.owed = max(0, f.owed+int64(n)-inflateRatio*(f.raw.n-f.paid))
	f.paid = f.raw.n
	if f.owed > f.spare {
		return 0, &wire.ByeError{Text: "compressed too well"}
	}
	return n, err
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

var deflateBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// deflater compresses what is sent, with a Z_SYNC_FLUSH at the end of each Write: the encoder gathers what belongs together. Between
// writes it keeps nothing but the window, as far as it was needed, where an ordinary compressor has several hundred KiB for each session.
type deflater struct {
	w      io.Writer
	window []byte // the last octets that were sent
	ends   bool   // the next Write is the last one
}

// Write implements io.Writer.
func (d *deflater) Write(p []byte) (int, error) {
	buf := deflateBuffers.Get().(*bytes.Buffer)
	defer deflateBuffers.Put(buf)
	written := 0
	for written < len(p) {
		piece := p[written:min(len(p), written+deflatePiece)]
		buf.Reset()
		final := d.ends && written+len(piece) == len(p)
		if err := flate.StatelessDeflate(buf, piece, final, d.window); err != nil {
			return written, err
		}
		if _, err := d.w.Write(buf.Bytes()); err != nil {
			return written, err
		}
		written += len(piece)
		d.remember(piece)
	}
	return written, nil
}

func (d *deflater) remember(p []byte) {
	if len(p) >= deflateWindow {
		d.window = append(d.window[:0], p[len(p)-deflateWindow:]...)
		return
	}
	if excess := len(d.window) + len(p) - deflateWindow; excess > 0 {
		d.window = d.window[:copy(d.window, d.window[excess:])]
	}
	d.window = append(d.window, p...)
}
