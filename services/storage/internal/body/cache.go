package body

import (
	"fmt"
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/yubin-mail/yubin/services/storage/internal/pack"
)

// tableChunk stands for the table in the place of a chunk's number.
const tableChunk = -1

// cacheKey has the whole location, so that what was verified for one is not given for another, wrong one.
type cacheKey struct {
	location Location
	chunk    int
}

func (k cacheKey) String() string { return fmt.Sprintf("%v:%d", k.location, k.chunk) }

// cached is the verified content of a chunk, or a table. Nobody changes it.
type cached struct {
	content []byte
	table   *pack.Table
	cost    int64
}

// entryCost is about what an entry takes besides its content.
const entryCost = 256

func cachedContent(content []byte) cached {
	return cached{content: content, cost: entryCost + int64(cap(content))}
}

func cachedTable(table *pack.Table, chunks int) cached {
	return cached{table: table, cost: entryCost + int64(chunks)*24}
}

// cache holds what was read lately, bounded by octets.
type cache struct {
	limit   int64
	metrics *metrics

	mu   sync.Mutex
	used int64
	lru  *simplelru.LRU[cacheKey, cached]
}

func newCache(limit int64, m *metrics) (*cache, error) {
	c := &cache{limit: limit, metrics: m}
	var err error
	c.lru, err = simplelru.NewLRU(math.MaxInt, func(_ cacheKey, v cached) { c.used -= v.cost })
	return c, err
}

func (c *cache) get(key cacheKey) (cached, bool) {
	c.mu.Lock()
	v, ok := c.lru.Get(key)
	c.mu.Unlock()
	if ok {
		c.metrics.cacheHits.Inc()
	} else {
		c.metrics.cacheMiss.Inc()
	}
	return v, ok
}

// peek gives what is under key, as no use of it.
func (c *cache) peek(key cacheKey) (cached, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Peek(key)
}

func (c *cache) add(key cacheKey, v cached) {
	if v.cost > c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(key) {
		return
	}
	c.lru.Add(key, v)
	for c.used += v.cost; c.used > c.limit; {
		c.lru.RemoveOldest()
	}
	c.metrics.cacheBytes.Set(float64(c.used))
}
