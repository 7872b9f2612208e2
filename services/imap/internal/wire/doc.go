// Package wire is the codec of the IMAP protocol (RFC 3501, RFC 9051): it turns what a client sends into
// commands and writes responses. It holds no session state and knows no mailbox.
//
// The Decoder's methods are sticky: after the first error they do nothing and return zero values, so that a
// parser reads straight down and checks once at the end.
package wire
