// Package rpc sets up gRPC between services, over mutual TLS or inside one
// process, with the same rules in both: who may call a method stands in its
// proto option yubin.rpc.v1.callers, a panic ends the call and not the
// process, only faults cross the wire, and every call is measured.
package rpc
