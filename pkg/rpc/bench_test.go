package rpc

import (
	"log/slog"
	"testing"

	quotav1 "github.com/yubin-mail/yubin/proto/yubin/quota/v1"
	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
)

// BenchmarkInprocUnary is what a call costs in the all-in-one.
func BenchmarkInprocUnary(b *testing.B) {
	in := NewInproc(slog.New(slog.DiscardHandler), nil)
	quotav1.RegisterQuotaServiceServer(in, &quota{})
	client := quotav1.NewQuotaServiceClient(in.Client("smtp"))
	req := &quotav1.CheckRequest{AccountId: "a"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := client.Check(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkInprocUpload is what a streamed chunk of 64 KiB costs in the all-in-one.
func BenchmarkInprocUpload(b *testing.B) {
	in := NewInproc(slog.New(slog.DiscardHandler), nil)
	storagev1.RegisterStorageServiceServer(in, &storage{})
	stream, err := storagev1.NewStorageServiceClient(in.Client("imap")).Append(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	chunk := make([]byte, 64<<10)
	for i := range chunk {
		chunk[i] = 'x'
	}
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		if err := stream.Send(&storagev1.AppendRequest{Message: &storagev1.AppendRequest_Chunk{Chunk: chunk}}); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := stream.CloseAndRecv(); err == nil {
		b.Fatal(err)
	}
}
