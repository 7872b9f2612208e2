package rpc

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// authorise refuses a caller that the method's option yubin.rpc.v1.callers does not name, and everyone if the method has no such
// option. The health service is open to all.
func authorise(caller, fullMethod string) error {
	if service, _ := splitMethod(fullMethod); service == healthpb.Health_ServiceDesc.ServiceName {
		return nil
	}
	if caller != "" && slices.Contains(describe(fullMethod).callers, caller) {
		return nil
	}
	return fault.Newf(codes.PermissionDenied, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED,
		"service %q may not call %s", caller, fullMethod)
}

// certificateCaller reads the caller from the client certificate that TLS has verified.
func certificateCaller(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 {
		return ""
	}
	return tlsconf.ServiceOf(info.State.PeerCertificates[0])
}
