// Package session is the IMAP engine: connections, their states, and the commands (RFC 9051, RFC 3501).
//
// A command or an extension is one file. It registers, at init time, what it adds: commands with the states in which
// they are valid, capabilities with when they are announced, FETCH and STATUS items, what ENABLE knows,
// and the grammar that goes with them. A command that only reads has its arguments read apart from what it does then, so that
// it can run beside others of the same connection.
package session
