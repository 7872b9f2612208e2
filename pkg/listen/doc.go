// Package listen opens the public listeners of the gateways: limits by total
// and by client network, the PROXY protocol from trusted networks, and the
// polite end of sessions when a process stops.
package listen
