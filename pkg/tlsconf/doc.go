// Package tlsconf makes TLS configurations whose certificates are read again when their files
// change, without a restart: for public servers, and for mutual TLS between services, where a
// service's name is the URI SAN spiffe://yubin/<service> of its certificate.
package tlsconf
