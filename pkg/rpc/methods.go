package rpc

import (
	"encoding/json"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	rpcv1 "github.com/yubin-mail/yubin/proto/yubin/rpc/v1"
)

// method is what the protos say of a method.
type method struct {
	callers []string // option yubin.rpc.v1.callers
	// repeatable: option idempotency_level says that making the call twice does no more than once, even at the same time.
	repeatable bool
	hedged     bool // repeatable, and option yubin.rpc.v1.unhedged does not forbid to do so beside the first call
	unary      bool
	kind       string // the label grpc_type of metrics
	// administers: it is of an administrative service and changes something.
	administers bool
	// lasting: the stream is open as long as its client wants, and mostly does nothing.
	lasting bool
}

// methods remembers them by their full names.
var methods sync.Map

// describe gives what the descriptors that the generated code registered say of a method; the zero method if it is unknown.
func describe(fullMethod string) method {
	if m, ok := methods.Load(fullMethod); ok {
		return m.(method)
	}
	service, name := splitMethod(fullMethod)
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return method{} // not remembered: the name may come from outside
	}
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return method{}
	}
	md := sd.Methods().ByName(protoreflect.Name(name))
	if md == nil {
		return method{}
	}
	m := method{repeatable: repeatable(md), unary: !md.IsStreamingClient() && !md.IsStreamingServer()}
	m.hedged = m.repeatable && !unhedged(md)
	m.kind = kind(md.IsStreamingClient(), md.IsStreamingServer())
	m.lasting = md.IsStreamingServer() && (md.IsStreamingClient() || !m.repeatable)
	m.administers = strings.HasSuffix(service, "AdminService") && !readOnly(md)
	if callers, ok := proto.GetExtension(md.Options(), rpcv1.E_Callers).(*rpcv1.Callers); ok {
		m.callers = callers.GetAllow()
	}
	methods.Store(fullMethod, m)
	return m
}

func repeatable(md protoreflect.MethodDescriptor) bool {
	options, ok := md.Options().(*descriptorpb.MethodOptions)
	return ok && options.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}

func unhedged(md protoreflect.MethodDescriptor) bool {
	unhedged, ok := proto.GetExtension(md.Options(), rpcv1.E_Unhedged).(bool)
	return ok && unhedged
}

func kind(streamingClient, streamingServer bool) string {
	switch {
	case streamingClient && streamingServer:
		return "bidi_stream"
	case streamingClient:
		return "client_stream"
	case streamingServer:
		return "server_stream"
	}
	return "unary"
}

func readOnly(md protoreflect.MethodDescriptor) bool {
	options, ok := md.Options().(*descriptorpb.MethodOptions)
	return ok && options.GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}

func lasting(fullMethod string) bool { return describe(fullMethod).lasting }

// The parts of gRPC's service configuration (grpc_service_config.proto) that are used.
type (
	serviceConfig struct {
		Balancing []map[string]struct{} `json:"loadBalancingConfig"`
		Health    healthConfig          `json:"healthCheckConfig"`
		Methods   []methodConfig        `json:"methodConfig"`
	}
	healthConfig struct {
		Service string `json:"serviceName"`
	}
	methodConfig struct {
		Names []methodName `json:"name"`
		Retry retryPolicy  `json:"retryPolicy"`
	}
	methodName struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	}
	retryPolicy struct {
		Attempts   int      `json:"maxAttempts"`
		Initial    string   `json:"initialBackoff"`
		Max        string   `json:"maxBackoff"`
		Multiplier float64  `json:"backoffMultiplier"`
		Codes      []string `json:"retryableStatusCodes"`
	}
)

// makeServiceConfig spreads calls over all replicas that report themselves as serving, and has calls that may be repeated made
// again, on another replica, when theirs is lost before it has begun to answer. What a server refuses itself is not repeated (see outcome).
// A stream of requests alone is repeated by who makes it, if at all: gRPC would have to keep it.
func makeServiceConfig() (string, error) {
	var names []methodName
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for k := range service.Methods().Len() {
				md := service.Methods().Get(k)
				if repeatable(md) && (md.IsStreamingServer() || !md.IsStreamingClient()) {
					names = append(names, methodName{string(service.FullName()), string(md.Name())})
				}
			}
		}
		return true
	})
	config := serviceConfig{Balancing: []map[string]struct{}{{leastBusy: {}}}}
	if len(names) > 0 {
		config.Methods = []methodConfig{{Names: names, Retry: retryPolicy{
			Attempts: 4, Initial: "0.1s", Max: "0.5s", Multiplier: 2, Codes: []string{"UNAVAILABLE"},
		}}}
	}
	text, err := json.Marshal(config)
	return string(text), err
}
