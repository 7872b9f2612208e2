package sqldb

import (
	"strconv"
	"strings"
	"sync"
)

// Dialect is what differs between databases.
type Dialect struct {
	// Name is "sqlite" or "postgres"; stores keep migrations by it.
	Name string
	// ForUpdate ends a SELECT whose rows stay locked until the transaction ends: " FOR UPDATE", or nothing where there is one writer at a time.
	ForUpdate string
	// Conflict tells whether an error is a conflict with another transaction, so that this one may be run again.
	Conflict func(error) bool
	// numbered says that placeholders are $1, $2, … instead of ?.
	numbered bool
}

// SQLite is the dialect of the embedded database.
var SQLite = Dialect{Name: "sqlite", Conflict: sqliteConflict}

// Postgres is the dialect of PostgreSQL, CockroachDB and YugabyteDB.
var Postgres = Dialect{Name: "postgres", ForUpdate: " FOR UPDATE", Conflict: postgresConflict, numbered: true}

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

// Limit gives the clause that ends a query after n rows; n is one of few constants. SQLite plans a query anew for each value that is
// bound to LIMIT ?, which costs more than most queries do.
func Limit(n int) string { return " LIMIT " + strconv.Itoa(n) }
