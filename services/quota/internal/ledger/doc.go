// Package ledger keeps each account's limit, usage and reservations in a database, so that used + reserved never passes
// the limit, and each change of usage counts exactly once.
//
// Reservations are rows, and their sum stands in the account's row beside its usage. A transaction locks the rows of its accounts
// first, in order of their ids, decides in memory, and writes what has changed: "does it fit" and the taking are one step, with many
// goroutines as with many replicas on one database; a table in memory would hold for one replica only. However many
// accounts and events it is about, that is one round trip to lock and read, one to write, one to commit. What a table in memory would save is
// the sync to disk, and that is saved here too: a reservation need not survive a loss of power (settlement carries the
// size, and the worst case is an overshoot by what was in flight), so Reserve and Release commit without waiting for the
// disk. Row and sum are in one database and one log, so they are lost together or not at all. Settle waits for the
// disk, because storage forgets an event once it was acknowledged.
//
// Whoever asks for an account that has no row gets a MissingError; Open makes the row.
package ledger
