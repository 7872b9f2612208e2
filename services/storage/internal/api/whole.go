package api

import (
	"context"

	storagev1 "github.com/yubin-mail/yubin/proto/yubin/storage/v1"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
)

// wholes gives the whole messages of a page, about an answer's worth of which it reads at a time.
type wholes struct {
	ctx     context.Context
	service *Service
	limit   uint64
	page    []*meta.Message
	// read are the messages from index first on.
	read  [][]byte
	first int
}

func (s *Service) newWholes(ctx context.Context, r *storagev1.FetchRequest, page []*meta.Message) *wholes {
	return &wholes{ctx: ctx, service: s, limit: min(r.GetWholeBytes(), body.MaxMany), page: page}
}

// of gives the body of message i of the page, nil if it is too large or cannot be read. It is asked for one after the other.
func (w *wholes) of(i int) []byte {
	if w.limit == 0 {
		return nil
	}
	if i >= w.first+len(w.read) {
		w.advance(i)
	}
	content := w.read[i-w.first]
	w.read[i-w.first] = nil
	return content
}

// advance reads messages from index i on.
func (w *wholes) advance(i int) {
	var wanted []int
	var locations []body.Location
	size, end := uint64(0), i
	for ; end < len(w.page) && size < maxFetchBytes; end++ {
		if n := w.page[end].State.GetSize(); n <= w.limit {
			wanted, locations = append(wanted, end), append(locations, w.page[end].Location)
			size += n
		}
	}
	w.read, w.first = make([][]byte, end-i), i
	for j, content := range w.service.Bodies.ReadMany(w.ctx, locations) {
		w.read[wanted[j]-i] = content
	}
}
