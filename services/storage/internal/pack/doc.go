// Package pack is the format of the objects that hold message bodies: compressed frames one after the other, and an index at the end that
// makes the pack readable without any database.
//
// # Format, version 1
//
// Integers are unsigned and little-endian. XXH64 is the 64-bit xxHash with seed 0.
//
//	pack   = head frame* index footer
//
//	head   = "YUBINPK1"          magic; the digit is the version
//	         marker[8]           random, differs from pack to pack
//
//	frame  = header meta chunk* table
//	header = marker[8]           as in the head
//	         metaLength u32      at most 1 MiB
//	         size       u64      octets of the body
//	         sum        u64      XXH64 of marker, metaLength, size and meta
//	meta   = octet[metaLength]   opaque here; says whose body it is, for disaster recovery
//	chunk  = entry octet[stored]
//	entry  = stored     u32      octets of the chunk as stored, at most its content's
//	         codec      u32      0: as is; 1: one Zstandard frame (RFC 8878), without dictionary
//	         sum        u64      XXH64 of the chunk's content, uncompressed
//	table  = entry*              the entries of all chunks again
//
//	index  = "YIDX" octet[stored]
//	         uncompressed, for each frame in order:
//	         offset     u64      of the header, from the pack's start
//	         stored     u64      octets from header to table
//	         size       u64      octets of the body
//	         sum        u64      XXH64 of the table
//	         metaLength u32
//	         meta       octet[metaLength]
//
//	footer = offset     u64      of the index
//	         stored     u32      octets of the index after "YIDX"
//	         size       u32      of the index, uncompressed; at most 32 MiB
//	         codec      u32      as in an entry
//	         frames     u32      how many
//	         sum        u64      XXH64 of "YIDX", the stored index, and the footer so far
//	         "YUBINIX1"
//
// The content of a body is cut into chunks of 262,144 octets, the last may be shorter; an empty body has none. Chunks are compressed each
// for itself, so a range of a large body is read by its chunks only. The table lies at the end of the frame because the lengths are known
// only when all chunks are written, and its place follows from what a location in the database tells (offset, stored, size). The entries
// before the chunks let a recovery go through a pack without its index.
//
// The marker is what a recovery looks for after damage. It is random so that nobody can send a message in whose body a recovery finds a
// frame that was never written.
//
// # Checksums
//
// The sum of a frame, which the database keeps too, covers the table; the table's entries cover the content of the chunks: so a range read
// is verified from the database's row down to the octets, of the chunks that it touches only. The sums are taken over uncompressed content
// and thus notice a fault of memory or of the compressor as well. They guard against decay and mix-ups, not against somebody who
// can write to the object store, who could replace a body and its row's sum alike; so a cryptographic hash would buy nothing. Of the others
// XXH64 was preferred to CRC-32C for its 64 bits: among thousands of millions of chunks 32 bits do let a fault pass.
package pack
