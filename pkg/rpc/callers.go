package rpc

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/yubin-mail/yubin/pkg/fault"
	"github.com/yubin-mail/yubin/pkg/tlsconf"
	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// rules remembers the callers that each method allows. Its zero value is ready to use.
type rules struct {
	allowed sync.Map // full method name → []string
}

// check refuses a caller that the method's option yubin.rpc.v1.callers does not name, and
// everyone if the method has no such option. The health service is open to all.
func (r *rules) check(caller, fullMethod string) error {
	service, method := splitMethod(fullMethod)
	if service == healthpb.Health_ServiceDesc.ServiceName {
		return nil
	}
	list, ok := r.allowed.Load(fullMethod)
	if !ok {
		list, _ = r.allowed.LoadOrStore(fullMethod, allowedCallers(service, method))
	}
	if caller != "" && slices.Contains(list.([]string), caller) {
		return nil
	}
	return fault.Newf(codes.PermissionDenied, rpcv1.Reason_REASON_CALLER_NOT_ALLOWED,
		"service %q may not call %s", caller, fullMethod)
}

// allowedCallers reads the option from the descriptor that the generated code registered.
func allowedCallers(service, method string) []string {
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil
	}
	md := sd.Methods().ByName(protoreflect.Name(method))
	if md == nil {
		return nil
	}
	callers, ok := proto.GetExtension(md.Options(), rpcv1.E_Callers).(*rpcv1.Callers)
	if !ok {
		return nil
	}
	return callers.GetAllow()
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
