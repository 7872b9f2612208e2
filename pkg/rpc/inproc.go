package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"github.com/fullstorydev/grpchan/inprocgrpc"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Inproc carries gRPC calls inside one process. Messages are copied, never shared, but for those of HandOver. Register every
// service before the first call.
type Inproc struct {
	channel inprocgrpc.Channel
	guard   *guard
	cloner  cloner
}

// HandOver names types of messages that belong to the receiver once they were sent into a stream, so that they need not be copied: the sender keeps
// nothing of them, and the receiver does not write into their bytes, which others may read. Call it before the first call is made.
func (in *Inproc) HandOver(types ...proto.Message) {
	for _, m := range types {
		in.cloner.given[m.ProtoReflect().Descriptor().FullName()] = true
	}
}

// Audit has every administrative change told to log. Call it before the first call is made.
func (in *Inproc) Audit(log *slog.Logger) { in.guard.audit = log }

var _ grpc.ServiceRegistrar = (*Inproc)(nil)

// NewInproc makes a transport that guards calls as NewServer does. reg may be nil.
func NewInproc(log *slog.Logger, reg prometheus.Registerer) *Inproc {
	g := newGuard(log, reg, inprocCaller, traceInside)
	in := &Inproc{guard: g, cloner: cloner{given: map[protoreflect.FullName]bool{}}}
	in.channel.WithServerUnaryInterceptor(g.unary()).WithServerStreamInterceptor(g.stream()).WithCloner(in.cloner)
	return in
}

// RegisterService implements grpc.ServiceRegistrar.
func (in *Inproc) RegisterService(desc *grpc.ServiceDesc, impl any) {
	in.channel.RegisterService(desc, impl)
}

// Client gives the connection of a service, such as "smtp": what is called through it is called by that service.
func (in *Inproc) Client(service string) grpc.ClientConnInterface {
	return &inprocClient{channel: &in.channel, service: service}
}

type inprocClient struct {
	channel *inprocgrpc.Channel
	service string
}

// inprocKey holds the calling service in the context of the client side.
type inprocKey struct{}

func inprocCaller(ctx context.Context) string {
	client := inprocgrpc.ClientContext(ctx)
	if client == nil {
		return ""
	}
	caller, _ := client.Value(inprocKey{}).(string)
	return caller
}

func (c *inprocClient) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, inprocKey{}, c.service)
}

// Invoke implements grpc.ClientConnInterface.
func (c *inprocClient) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx, cancel := withTimeout(c.context(ctx), DefaultTimeout)
	defer cancel()
	if ctx.Err() != nil {
		return status.FromContextError(ctx.Err()).Err()
	}
	req := &request{msg: args}
	defer req.withdraw()
	err := c.channel.Invoke(ctx, method, req, reply, opts...)
	if ctx.Err() != nil && errors.Is(err, io.EOF) { // the server's answer lost a race against the end of ctx
		return status.FromContextError(ctx.Err()).Err()
	}
	return err
}

// NewStream implements grpc.ClientConnInterface. As with any gRPC stream, ctx must end or the
// stream be read to its end.
func (c *inprocClient) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	stream, err := c.channel.NewStream(c.context(ctx), desc, method, opts...)
	if err == nil && !desc.ClientStreams {
		return oneRequestStream{stream}, nil
	}
	return stream, err
}

// oneRequestStream is a stream with a single request.
type oneRequestStream struct{ grpc.ClientStream }

// SendMsg reports no EOF, which says that the server has answered already, as with an early refusal: the caller
// finds the answer with RecvMsg. grpc.ClientStream promises nil here for what is no client stream.
func (s oneRequestStream) SendMsg(m any) error {
	if err := s.ClientStream.SendMsg(m); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// request is a unary request on its way. The server's goroutine copies it, and may come to
// that only after the caller has given up and uses its message for something else.
type request struct {
	mu  sync.Mutex
	msg any // nil once the caller has gone
}

func (r *request) withdraw() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.msg = nil
}

// owned is a message that was copied when it was sent into a stream, and so belongs to the receiver.
type owned struct{ msg proto.Message }

// cloner copies each message once on its way between the two sides.
type cloner struct {
	given map[protoreflect.FullName]bool // what need not be copied into streams
}

var _ inprocgrpc.Cloner = cloner{}

// Clone implements inprocgrpc.Cloner: it is called for messages sent into streams.
func (c cloner) Clone(in any) (any, error) {
	m, ok := in.(proto.Message)
	if !ok {
		return nil, status.Errorf(codes.Internal, "%T is no protobuf message", in)
	}
	if c.given[m.ProtoReflect().Descriptor().FullName()] {
		return owned{m}, nil
	}
	return owned{proto.Clone(m)}, nil
}

// Copy implements inprocgrpc.Cloner: it is called for unary messages, and for messages received from streams.
func (cloner) Copy(out, in any) error {
	dst, ok := out.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "%T is no protobuf message", out)
	}
	proto.Reset(dst)
	switch in := in.(type) {
	case owned:
		move(dst.ProtoReflect(), in.msg.ProtoReflect())
		return nil
	case *request:
		in.mu.Lock()
		defer in.mu.Unlock()
		if src, ok := in.msg.(proto.Message); ok {
			proto.Merge(dst, src)
			return nil
		}
		return status.Error(codes.Canceled, "the caller has gone")
	case proto.Message:
		proto.Merge(dst, in)
		return nil
	}
	return status.Errorf(codes.Internal, "%T is no protobuf message", in)
}

// move gives the contents of src to dst without copying what they point to; src must not be used again.
func move(dst, src protoreflect.Message) {
	src.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		dst.Set(field, value)
		return true
	})
	dst.SetUnknown(src.GetUnknown())
}
