package rpc

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/yubin-mail/yubin/pkg/fault"
)

// audited are the fields of requests that the audit log shows: what was changed. Others may be secret.
var audited = map[protoreflect.Name]bool{
	"account_id": true, "address": true, "domain": true, "id": true, "name": true, "label": true, "targets": true,
	"disabled": true, "display_name": true, "pop_delete": true, "protocols": true, "bytes": true, "messages": true,
	"mailbox": true, "to_mailbox": true, "deleted_ids": true, "repair": true, "dry_run": true, "now": true,
}

// note puts an administrative change into the audit log.
func (g *guard) note(ctx context.Context, method string, req any, err error) {
	if g.audit == nil || !describe(method).administers {
		return
	}
	attrs := []slog.Attr{slog.String("event", "change"), slog.String("caller", Caller(ctx)), slog.String("method", method)}
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		attrs = append(attrs, slog.String("from", p.Addr.String()))
	}
	if m, ok := req.(proto.Message); ok {
		attrs = append(attrs, slog.Attr{Key: "request", Value: slog.GroupValue(fields(m.ProtoReflect())...)})
	}
	attrs = append(attrs, slog.String("result", fault.Code(err).String()))
	g.audit.LogAttrs(ctx, slog.LevelInfo, "administration", attrs...)
}

// fields gives those of a request that may be shown.
func fields(m protoreflect.Message) []slog.Attr {
	var out []slog.Attr
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.Message() != nil && !field.IsList() && !field.IsMap():
			if inner := fields(value.Message()); len(inner) > 0 {
				out = append(out, slog.Attr{Key: string(field.Name()), Value: slog.GroupValue(inner...)})
			}
		case !audited[field.Name()] || field.Message() != nil:
		case field.IsList():
			list := make([]any, value.List().Len())
			for i := range list {
				list[i] = value.List().Get(i).Interface()
			}
			out = append(out, slog.Any(string(field.Name()), list))
		case field.Enum() != nil:
			name := "unknown"
			if v := field.Enum().Values().ByNumber(value.Enum()); v != nil {
				name = string(v.Name())
			}
			out = append(out, slog.String(string(field.Name()), name))
		default:
			out = append(out, slog.Any(string(field.Name()), value.Interface()))
		}
		return true
	})
	return out
}

// listener remembers the one request of a stream of answers, for the audit log.
type listener struct {
	grpc.ServerStream
	request any
}

// RecvMsg implements grpc.ServerStream.
func (l *listener) RecvMsg(m any) error {
	err := l.ServerStream.RecvMsg(m)
	if err == nil && l.request == nil {
		l.request = m
	}
	return err
}
