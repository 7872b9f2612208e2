// Package textindex makes and reads an index of the texts of messages, by which a search finds the messages that contain a text without reading
// any of their bodies.
//
// IMAP searches for substrings (RFC 9051 section 6.4.4), not for words, so the index is one of n-grams: of each character, each two characters in a row
// and, outside of Chinese, Japanese and Korean, where a word has two characters, each three. A needle of one gram is answered exactly. A longer one
// is in no other messages than those that have all of its grams, and for certain in those that have it as a whole word; of what remains
// the text itself decides, which the index keeps too, folded and compressed.
//
// A segment is the index of up to SegmentDocs messages of a mailbox. It never changes. Its postings are divided by a hash of the term into
// Chunks chunks, so that a search reads one chunk of each segment for a term. What is not yet in a segment is decided by its text.
//
// Besides, a segment has the texts of the fields that are searched most (Columns), which answer for them, and a list of its words and common phrases (the
// vocabulary), which are asked for a part of a word that is in more messages than should be looked into.
//
// The package holds no state and knows no database.
package textindex

const (
	// SegmentDocs is the most messages that a segment has.
	SegmentDocs = 1024
	// Chunks is the number of chunks of a segment.
	Chunks = 256
	// Format is the version of all that is here and of what package search folds: an index of another one is made anew.
	Format = 3
)
