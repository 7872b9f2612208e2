package inflate

import "sync"

const (
	endOfBlock   = 256
	maxLiterals  = 288 // with those that the fixed code has and nobody may use
	maxDistances = 32
	maxCode      = 15 // bits
	fastBits     = 8
	// longest is what a repetition needs at most: a length with 5 more bits and a distance with 13.
	longest = maxCode + 5 + maxCode + 13
)

// code is a Huffman code: RFC 1951 section 3.2.2. The codes of a length follow one another, and so do those of the next length.
type code struct {
	count   [maxCode + 1]uint16 // codes of each length
	symbols [maxLiterals]uint16 // in the order of their codes
	// fast has what the next bits mean, if they begin with a code that is as short: symbol<<4 + length; otherwise 0.
	fast [1 << fastBits]uint16
}

// init makes a code from the lengths that its symbols have, 0 for those it lacks. It reports whether every string of bits begins with a
// code; like zlib it also takes none at all and, of one bit, a single one.
func (c *code) init(lengths []uint8) bool {
	*c = code{}
	for _, n := range lengths {
		c.count[n]++
	}
	c.count[0] = 0
	var at [maxCode + 2]uint16 // where the symbols of a length begin
	var first [maxCode + 2]uint
	left, used := 1, 0
	for n := 1; n <= maxCode; n++ {
		left = left<<1 - int(c.count[n])
		if left < 0 {
			return false
		}
		used += int(c.count[n])
		at[n+1] = at[n] + c.count[n]
		first[n+1] = (first[n] + uint(c.count[n])) << 1
	}
	if left > 0 && (used > 1 || used == 1 && c.count[1] == 0) {
		return false
	}
	for symbol, n := range lengths {
		if n == 0 {
			continue
		}
		c.symbols[at[n]] = uint16(symbol)
		at[n]++
		if n <= fastBits {
			for i := reversed(first[n], n); i < 1<<fastBits; i += 1 << n {
				c.fast[i] = uint16(symbol)<<4 | uint16(n)
			}
		}
		first[n]++
	}
	return true
}

// reversed turns a code of n bits around: its first bit is the highest, but the lowest in the data.
func reversed(v uint, n uint8) (out uint) {
	for range n {
		out = out<<1 | v&1
		v >>= 1
	}
	return out
}

// bitString is what has come and was not used, the next bit lowest.
type bitString struct {
	bits uint64
	n    uint
}

// symbol takes the next code. It reports false if there is none, or not yet.
func (b *bitString) symbol(c *code) (int, bool) {
	if fast := c.fast[b.bits&(1<<fastBits-1)]; fast != 0 {
		n := uint(fast & 15)
		if n > b.n {
			return 0, false
		}
		b.bits >>= n
		b.n -= n
		return int(fast >> 4), true
	}
	var value, first, at uint // of the code so far; the first of its length, and where that one's symbol is
	for n := uint(1); n <= min(maxCode, b.n); n++ {
		value |= uint(b.bits>>(n-1)) & 1
		count := uint(c.count[n])
		if value < first+count {
			b.bits >>= n
			b.n -= n
			return int(c.symbols[at+value-first]), true
		}
		at += count
		first = (first + count) << 1
		value <<= 1
	}
	return 0, false
}

// value takes the bits that follow a symbol, and gives what both mean.
func (b *bitString) value(of []meaning, symbol int) (int, bool) {
	if symbol >= len(of) || of[symbol].bits > b.n {
		return 0, false
	}
	m := of[symbol]
	v := m.base + int(b.bits&(1<<m.bits-1))
	b.bits >>= m.bits
	b.n -= m.bits
	return v, true
}

// meaning is what a symbol stands for: base and the number that so many bits after it say.
type meaning struct {
	base int
	bits uint
}

// RFC 1951 section 3.2.5.
var (
	lengths   = meanings(3, []uint{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5}, meaning{base: 258})
	distances = meanings(1, []uint{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13})
)

func meanings(base int, bits []uint, more ...meaning) []meaning {
	var out []meaning
	for _, n := range bits {
		out = append(out, meaning{base, n})
		base += 1 << n
	}
	return append(out, more...)
}

// codes are those of a block.
type codes struct {
	literals, distances code
	pooled              bool
}

var pool = sync.Pool{New: func() any { return &codes{pooled: true} }}

func (c *codes) release() {
	if c.pooled {
		pool.Put(c)
	}
}

// fixed gives the codes of RFC 1951 section 3.2.6.
var fixed = sync.OnceValue(func() *codes {
	var c codes
	lengths := make([]uint8, maxLiterals)
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	c.literals.init(lengths)
	distances := make([]uint8, maxDistances)
	for i := range distances {
		distances[i] = 5
	}
	c.distances.init(distances)
	return &c
})

// lengthOrder is how the lengths of the code of code lengths come: RFC 1951 section 3.2.7.
var lengthOrder = [...]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// headCodes reads the codes that a block brings: RFC 1951 section 3.2.7.
func (r *Reader) headCodes() (*codes, error) {
	counts, err := r.take(14)
	if err != nil {
		return nil, err
	}
	literals, distances, ofLengths := int(counts&31)+257, int(counts>>5&31)+1, int(counts>>10)+4
	if literals > 286 || distances > 30 {
		return nil, ErrCorrupt
	}
	var all [maxLiterals + maxDistances]uint8
	for _, symbol := range lengthOrder[:ofLengths] {
		n, err := r.take(3)
		if err != nil {
			return nil, err
		}
		all[symbol] = uint8(n)
	}
	c := pool.Get().(*codes)
	if !c.literals.init(all[:len(lengthOrder)]) {
		c.release()
		return nil, ErrCorrupt
	}
	lengths := all[:literals+distances]
	clear(all[:])
	if err := r.codeLengths(&c.literals, lengths); err != nil {
		c.release()
		return nil, err
	}
	// zlib wants an end of the block, too.
	if lengths[endOfBlock] == 0 || !c.literals.init(lengths[:literals]) || !c.distances.init(lengths[literals:]) {
		c.release()
		return nil, ErrCorrupt
	}
	return c, nil
}

// codeLengths reads the lengths of both codes.
func (r *Reader) codeLengths(c *code, lengths []uint8) error {
	for i := 0; i < len(lengths); {
		symbol, err := r.takeSymbol(c)
		if err != nil {
			return err
		}
		if symbol < 16 {
			lengths[i] = uint8(symbol)
			i++
			continue
		}
		repeat := [...]struct {
			bits  uint
			least int
		}{{2, 3}, {3, 3}, {7, 11}}[symbol-16]
		n, err := r.take(repeat.bits)
		if err != nil {
			return err
		}
		times := repeat.least + int(n)
		if i+times > len(lengths) || symbol == 16 && i == 0 {
			return ErrCorrupt
		}
		for range times {
			if symbol == 16 {
				lengths[i] = lengths[i-1]
			}
			i++
		}
	}
	return nil
}

// takeSymbol waits for a symbol.
func (r *Reader) takeSymbol(c *code) (int, error) {
	for {
		r.fill()
		b := bitString{r.bits, r.n}
		if symbol, ok := b.symbol(c); ok {
			r.bits, r.n = b.bits, b.n
			return symbol, nil
		}
		if r.n >= maxCode {
			return 0, ErrCorrupt
		}
		if err := r.more(); err != nil {
			return 0, err
		}
	}
}
