// Package view keeps compact pictures of selected mailboxes: what each message's UID, flags, size and
// dates are. All sessions of the gateway on one mailbox share its view, which follows storage
// by asking "what changed since modseq N" whenever a notice says that something did.
//
// A Snapshot never changes. A session keeps the one that it told its client last, which is its map of
// sequence numbers, and Diff says what the client must be told to come to a newer one.
package view
