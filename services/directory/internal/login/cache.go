package login

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// verdict is what is known of a password.
type verdict int

const (
	unknown verdict = iota
	right
	wrong
	cachedRight
	cachedWrong
)

// label is a metric's.
func (v verdict) label() string {
	if v == cachedRight || v == cachedWrong {
		return "hit"
	}
	return "miss"
}

// cache remembers which passwords were checked lately. It keeps a MAC of each under a key of this process alone, so that a
// look into its memory gives passwords no sooner than a look at the whole process would. Right and wrong ones are bounded
// apart: a flood of wrong ones does not make the others forgotten.
type cache struct {
	key          [32]byte
	ttl          time.Duration
	rights, bads *lru.Cache[[sha256.Size]byte, time.Time]
}

func newCache(size int, ttl time.Duration) *cache {
	c := &cache{ttl: ttl, rights: newLRU(size), bads: newLRU(size)}
	_, _ = rand.Read(c.key[:]) // never fails: it ends the program instead
	return c
}

func newLRU(size int) *lru.Cache[[sha256.Size]byte, time.Time] {
	l, err := lru.New[[sha256.Size]byte, time.Time](max(size, 1))
	if err != nil {
		panic(err) // only for a size below 1
	}
	return l
}

// tag identifies a password and whose it is. Parts are told apart by their lengths.
func (c *cache) tag(name []byte, parts ...string) (tag [sha256.Size]byte) {
	mac := hmac.New(sha256.New, c.key[:])
	mac.Write(name)
	for _, part := range parts {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	mac.Sum(tag[:0])
	return tag
}

func (c *cache) get(tag [sha256.Size]byte, now time.Time) verdict {
	if until, ok := c.rights.Get(tag); ok && now.Before(until) {
		return cachedRight
	}
	if until, ok := c.bads.Get(tag); ok && now.Before(until) {
		return cachedWrong
	}
	return unknown
}

func (c *cache) put(tag [sha256.Size]byte, ok bool, now time.Time) {
	if ok {
		c.rights.Add(tag, now.Add(c.ttl))
	} else {
		c.bads.Add(tag, now.Add(c.ttl))
	}
}
