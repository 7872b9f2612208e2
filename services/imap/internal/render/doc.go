// Package render writes what FETCH answers from a message's parsed structure: ENVELOPE, BODY and BODYSTRUCTURE
// (RFC 9051 section 7.5.2), and finds the octets of a section (section 6.4.5.1).
//
// # Raw 8-bit header values
//
// Real mail carries 8-bit octets in headers, in whatever charset. Without UTF8=ACCEPT a client may not be sent them in
// an ENVELOPE or BODYSTRUCTURE (RFC 9051 section 7.5.2), and many would show rubbish. So the words of a value that hold 8-bit
// octets are sent as encoded words of RFC 2047 in UTF-8, other words as they are. The charset of the octets is guessed: UTF-8 if
// they are valid, ISO-2022-JP by its escape sequences, otherwise Windows-1252. This also goes for parameters such as filename:
// RFC 2231 is the standard there, but clients decode encoded words in a BODYSTRUCTURE far more often. A domain becomes its
// A-label (RFC 5890). With UTF8=ACCEPT (RFC 6855) the same guess is sent as UTF-8.
// BODY[HEADER] and all other sections stay octet for octet what the message holds.
package render
