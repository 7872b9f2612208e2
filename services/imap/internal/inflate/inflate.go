// Package inflate decompresses DEFLATE (RFC 1951) for a conversation: it gives out every octet as soon as the bits that say it have come.
//
// Readers that are made for files hold data back until bits come that the other side only sends with what it says next. After a
// Z_PARTIAL_FLUSH, which mbsync does, as few as 3 bits follow the end of a block: the command was complete, and such a reader waited.
//
// A Reader keeps no more than the conversation needs: the window grows with what was said, up to 32 KiB, and there are tables only within
// a block that brings its own codes.
package inflate

import (
	"errors"
	"io"
)

// ErrCorrupt says that what was read is not DEFLATE.
var ErrCorrupt = errors.New("inflate: damaged data")

const (
	readAhead  = 512 // octets
	emptyReads = 100 // how often in a row the source may answer with nothing
)

// Reader reads compressed data from a source. It is not safe for concurrent use.
type Reader struct {
	src io.Reader
	err error

	in        [readAhead]byte
	next, end int    // what of in was not taken
	bits      uint64 // taken and not used, the next one lowest
	n         uint   // how many these are

	final    bool   // the block is the last one
	stored   int    // octets of a stored block that are to come
	codes    *codes // of the block; nil outside of one that is coded
	length   int    // what is to come of a repetition
	distance int
	window   window
}

// NewReader gives a Reader of src, which it reads ahead.
func NewReader(src io.Reader) *Reader { return &Reader{src: src} }

// Read implements io.Reader. It waits for the source only where there is nothing to give out. Errors: ErrCorrupt, io.EOF after the final block, and
// those of the source as they are, so that its io.EOF does not mean that the data were complete.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.err == nil {
		if n := r.say(p); n > 0 {
			return n, nil
		}
		if r.err == nil {
			r.err = r.advance()
		}
	}
	return 0, r.err
}

// say gives out what can be said of the block without waiting.
func (r *Reader) say(p []byte) (n int) {
	for n < len(p) {
		var k int
		ok := true
		switch {
		case r.length > 0:
			k = r.window.repeat(p[n:min(len(p), n+r.length)], r.distance)
			r.length -= k
		case r.stored > 0:
			k = r.takeOctets(p[n:min(len(p), n+r.stored)])
			r.window.write(p[n : n+k])
			r.stored -= k
			ok = k > 0
		case r.codes != nil:
			if k = r.short(p[n:]); k == 0 {
				k, ok = r.step(p[n:])
			}
		default:
			return n
		}
		n += k
		if !ok {
			return n
		}
	}
	return n
}

// advance waits for what say lacks: more of the block, or the next one.
func (r *Reader) advance() error {
	switch {
	case r.stored > 0 || r.codes != nil:
		return r.more()
	case r.final:
		return io.EOF
	}
	return r.head()
}

// short says octets as long as they have short codes, which is quick.
func (r *Reader) short(p []byte) (n int) {
	bits, left, fast := r.bits, r.n, &r.codes.literals.fast
	for n < len(p) {
		for ; left <= 56 && r.next < r.end; r.next++ {
			bits |= uint64(r.in[r.next]) << left
			left += 8
		}
		meant := fast[bits&(1<<fastBits-1)]
		length := uint(meant & 15)
		if meant == 0 || meant >= endOfBlock<<4 || length > left {
			break
		}
		p[n] = byte(meant >> 4)
		n++
		bits >>= length
		left -= length
	}
	r.bits, r.n = bits, left
	r.window.write(p[:n])
	return n
}

// step says the next octet of a coded block, notes a repetition or ends the block. If its bits have not all come, or are none, it does
// nothing and reports false.
func (r *Reader) step(p []byte) (n int, ok bool) {
	r.fill()
	b := bitString{r.bits, r.n}
	symbol, ok := b.symbol(&r.codes.literals)
	switch {
	case !ok:
	case symbol < endOfBlock:
		p[0] = byte(symbol)
		r.window.write(p[:1])
		n = 1
	case symbol == endOfBlock:
		r.codes.release()
		r.codes = nil
	default:
		length, haveLength := b.value(lengths, symbol-endOfBlock-1)
		symbol, haveSymbol := b.symbol(&r.codes.distances)
		distance, haveDistance := 0, false
		if haveSymbol {
			distance, haveDistance = b.value(distances, symbol)
		}
		if ok = haveLength && haveSymbol && haveDistance; !ok {
			break
		}
		if distance > r.window.len() {
			r.err = ErrCorrupt
			return 0, false
		}
		r.length, r.distance = length, distance
	}
	if ok {
		r.bits, r.n = b.bits, b.n
	} else if r.n >= longest {
		r.err = ErrCorrupt // all bits that it could have are there
	}
	return n, ok
}

// head reads the head of a block: RFC 1951 section 3.2.3.
func (r *Reader) head() error {
	head, err := r.take(3)
	if err != nil {
		return err
	}
	r.final = head&1 == 1
	switch head >> 1 {
	case 0:
		return r.headStored()
	case 1:
		r.codes = fixed()
		return nil
	case 2:
		r.codes, err = r.headCodes()
		return err
	}
	return ErrCorrupt
}

// headStored reads the length of a stored block: RFC 1951 section 3.2.4.
func (r *Reader) headStored() error {
	r.bits >>= r.n % 8
	r.n -= r.n % 8
	length, err := r.take(16)
	if err != nil {
		return err
	}
	complement, err := r.take(16)
	switch {
	case err != nil:
		return err
	case length != complement^0xffff:
		return ErrCorrupt
	}
	r.stored = int(length)
	return nil
}

// take waits for up to 16 bits.
func (r *Reader) take(n uint) (uint, error) {
	for r.n < n {
		if r.fill(); r.n >= n {
			break
		}
		if err := r.more(); err != nil {
			return 0, err
		}
	}
	v := uint(r.bits) & (1<<n - 1)
	r.bits >>= n
	r.n -= n
	return v, nil
}

// takeOctets takes what has come, at a limit between octets.
func (r *Reader) takeOctets(p []byte) (n int) {
	for ; r.n > 0 && n < len(p); n++ {
		p[n] = byte(r.bits)
		r.bits >>= 8
		r.n -= 8
	}
	k := copy(p[n:], r.in[r.next:r.end])
	r.next += k
	return n + k
}

// fill takes whole octets of what was read, up to 56 bits or more.
func (r *Reader) fill() {
	for ; r.n <= 56 && r.next < r.end; r.next++ {
		r.bits |= uint64(r.in[r.next]) << r.n
		r.n += 8
	}
}

// more waits for the source, of which everything was taken.
func (r *Reader) more() error {
	for range emptyReads {
		n, err := r.src.Read(r.in[:])
		if n > 0 {
			r.next, r.end = 0, n
			return nil // an error comes again
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}
