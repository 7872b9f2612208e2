package inflate

const (
	maxWindow   = 32 << 10 // RFC 1951 section 2
	firstWindow = 1 << 10
)

// window is what was said last, as far as it may be repeated.
type window struct {
	ring []byte
	at   int  // where the next octet goes
	full bool // the ring has its full size, and was filled
}

// len is how far back one may refer.
func (w *window) len() int {
	if w.full {
		return maxWindow
	}
	return w.at
}

// write remembers octets.
func (w *window) write(p []byte) {
	for len(p) > 0 {
		if w.at == len(w.ring) {
			w.turn()
		}
		n := copy(w.ring[w.at:], p)
		w.at += n
		p = p[n:]
	}
}

// turn makes room behind the last octet.
func (w *window) turn() {
	if len(w.ring) == maxWindow {
		w.at, w.full = 0, true
		return
	}
	larger := make([]byte, max(firstWindow, 2*len(w.ring)))
	copy(larger, w.ring)
	w.ring = larger
}

// repeat says again what was said a distance ago, which may become longer by that. It gives how many octets of p that filled: all.
func (w *window) repeat(p []byte, distance int) int {
	for n := 0; n < len(p); {
		from := w.at - distance
		if from < 0 {
			from += maxWindow
		}
		k := copy(p[n:], w.ring[from:min(len(w.ring), from+distance)])
		if from < w.at {
			k = min(k, w.at-from)
		}
		w.write(p[n : n+k])
		n += k
	}
	return len(p)
}
