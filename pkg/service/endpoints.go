package service

import (
	"net"

	"github.com/spf13/pflag"
)

// Ports of the services that are called, unless configured otherwise.
var ports = map[string]string{"directory": "7101", "quota": "7102", "storage": "7103"}

// TargetVar declares --<server>-target: where to call another service, in gRPC's target syntax.
func TargetVar(fs *pflag.FlagSet, p *string, server string) {
	fs.StringVar(p, server+"-target", "dns:///"+net.JoinHostPort("localhost", ports[server]),
		"where the "+server+" service is, as a gRPC target: dns:///host:port is balanced over all addresses of the name, host:port,host:port over a list")
}

// ListenVar declares --<service>-rpc-listen: where a service takes calls.
func ListenVar(fs *pflag.FlagSet, p *string, service string) {
	fs.StringVar(p, service+"-rpc-listen", ":"+ports[service], "address on which the "+service+" service takes gRPC calls, over mTLS")
}

// DataDirVar declares --data-dir, the only place that a service writes to.
func DataDirVar(fs *pflag.FlagSet, p *string) {
	fs.StringVar(p, "data-dir", "./data", "directory for all data of the embedded stores")
}
