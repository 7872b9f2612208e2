// Package sqldb is the query layer under the services' stores: one writer at a
// time, snapshot readers, statements cached by connection, numbered
// migrations. Queries are written once with `?` placeholders for every dialect.
package sqldb
