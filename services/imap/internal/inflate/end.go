package inflate

// End reads to where the other side has left off compressing, behind all that Read has given out: to the end of the final block, or to that of an empty
// stored one, with which a Z_SYNC_FLUSH or Z_FULL_FLUSH ends. It gives what was read ahead of the source behind that, which is not compressed, and
// whether the block was the final one. The Reader is of no use afterwards. Errors: ErrCorrupt also if there is more to give out; those of the source.
func (r *Reader) End() (rest []byte, final bool, err error) {
	var more [1]byte
	for r.err == nil {
		if r.say(more[:]) > 0 {
			return nil, false, ErrCorrupt
		}
		between := r.codes == nil && r.stored == 0 && r.length == 0
		switch {
		case r.err != nil:
		case between && r.final:
			return r.rest(), true, nil
		case !between:
			r.err = r.advance()
		default:
			if r.err = r.head(); r.err == nil && r.codes == nil && r.stored == 0 && !r.final {
				return r.rest(), false, nil
			}
		}
	}
	return nil, false, r.err
}

// rest gives the octets that were taken or read ahead, and not used. What is left of an octet that was begun is only there to fill it.
func (r *Reader) rest() []byte {
	var rest []byte
	for r.bits >>= r.n % 8; r.n >= 8; r.n -= 8 {
		rest = append(rest, byte(r.bits))
		r.bits >>= 8
	}
	return append(rest, r.in[r.next:r.end]...)
}
