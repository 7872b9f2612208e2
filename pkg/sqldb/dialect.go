package sqldb

import (
	"errors"
	"strconv"
	"strings"
	"sync"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Dialect is what differs between databases.
type Dialect struct {
	// Name is "sqlite" or "postgres"; stores may keep migrations by it.
	Name string
	// BeginRead and BeginWrite begin a transaction: a consistent read-only snapshot, and one that writes.
	BeginRead, BeginWrite string
	// EndRead ends what BeginRead began.
	EndRead string
	// Numbered says that placeholders are $1, $2, … instead of ?.
	Numbered bool
	// Conflict tells whether an error is a conflict with another writer, so that the transaction may be run again.
	Conflict func(error) bool
	// relaxed is a transaction that writes without waiting for the disk.
	relaxed transaction
}

// SQLite is the dialect of the embedded database.
var SQLite = Dialect{
	Name:       "sqlite",
	BeginRead:  "BEGIN DEFERRED",
	BeginWrite: "BEGIN IMMEDIATE",
	EndRead:    "COMMIT",
	Conflict:   func(err error) bool { return primaryCode(err) == sqlite3.SQLITE_BUSY },
	relaxed: transaction{
		begin: "PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE",
		end:   "COMMIT; PRAGMA synchronous=FULL",
		abort: "ROLLBACK; PRAGMA synchronous=FULL",
		state: true,
	},
}

// rebinder rewrites placeholders for a dialect and remembers the outcome; queries are constants of the program.
type rebinder struct {
	numbered bool
	cache    sync.Map // query → rewritten
}

func (r *rebinder) rebind(query string) string {
	if !r.numbered {
		return query
	}
	if done, ok := r.cache.Load(query); ok {
		return done.(string)
	}
	out := numberPlaceholders(query)
	r.cache.Store(query, out)
	return out
}

// numberPlaceholders makes $1, $2, … of every ? outside of quotes and line comments.
func numberPlaceholders(query string) string {
	var b strings.Builder
	n, quote := 0, byte(0)
	for i := range len(query) {
		c := query[i]
		switch {
		case quote == '\n' && c == '\n', quote != 0 && quote != '\n' && c == quote:
			quote = 0
		case quote != 0:
		case c == '\'' || c == '"':
			quote = c
		case c == '-' && strings.HasPrefix(query[i:], "--"):
			quote = '\n'
		case c == '?':
			n++
			b.WriteString("$" + strconv.Itoa(n))
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func resultCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// primaryCode strips what SQLite's extended result codes add.
func primaryCode(err error) int { return resultCode(err) & 0xff }

// IsUnique tells whether an error is the violation of a unique index or a primary key.
func IsUnique(err error) bool {
	switch resultCode(err) {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return true
	}
	return false
}

// IsFull tells whether an error says that the disk has no room.
func IsFull(err error) bool { return primaryCode(err) == sqlite3.SQLITE_FULL }

// Limit gives the clause that ends a query after n rows; n is one of few constants. SQLite plans a query anew for each value that is
// bound to LIMIT ?, which costs more than most queries do.
func Limit(n int) string { return " LIMIT " + strconv.Itoa(n) }
