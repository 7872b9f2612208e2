package server

import (
	"context"
	"io"
	"time"

	"github.com/spf13/pflag"

	"github.com/yubin-mail/yubin/pkg/config"
	"github.com/yubin-mail/yubin/pkg/lifecycle"
	"github.com/yubin-mail/yubin/services/storage/internal/body"
	"github.com/yubin-mail/yubin/services/storage/internal/indexer"
	"github.com/yubin-mail/yubin/services/storage/internal/meta"
	"github.com/yubin-mail/yubin/services/storage/internal/search"
)

// indexConfig is the settings of the text index and of searches.
type indexConfig struct {
	text        config.Size
	rate        int
	searchBytes config.Size
	searchTime  time.Duration
}

func (c *indexConfig) flags(fs *pflag.FlagSet) {
	config.SizeVar(fs, &c.text, "storage-index-text", 256*config.KiB,
		"octets of text of each message that the index for searches keeps; the rest is read if a search needs it; 0 for no index")
	fs.IntVar(&c.rate, "storage-index-rate", 1000, "most messages a second that are added to the index, fewer while mail comes in")
	config.SizeVar(fs, &c.searchBytes, "storage-search-read", config.GiB, "octets of messages that one search reads at most where the index cannot answer; 0 for any number")
	fs.DurationVar(&c.searchTime, "storage-search-time", 2*time.Minute, "how long one search takes at most; 0 for any time")
}

func (c *indexConfig) validate() []error {
	var errs []error
	if c.text != 0 {
		errs = config.Between(errs, "storage-index-text", c.text, config.KiB, 16*config.MiB)
	}
	errs = config.AtLeast(errs, "storage-index-rate", c.rate, 1)
	errs = config.AtLeast(errs, "storage-search-read", c.searchBytes, 0)
	return config.AtLeast(errs, "storage-search-time", c.searchTime, 0)
}

// assemble makes the indexer, nil if there is none.
func (c *indexConfig) assemble(store *meta.Store, bodies *body.Store, s *Server, deps Deps) *indexer.Indexer {
	if c.text == 0 {
		return nil
	}
	return indexer.New(indexer.Config{
		Meta: store, Jobs: s.jobs, Bodies: bodies,
		Open: func(ctx context.Context, account string, m *meta.Message) io.ReaderAt {
			return s.service.OpenBody(ctx, account, m)
		},
		// Of a header there are the fields, decoded and as they are.
		Limits: search.Limits{Header: int(min(c.text, 32*config.KiB)), Body: int(c.text)},
		Rate:   c.rate, Busy: s.writer.Busy, Now: deps.Now, Log: deps.Log, Registerer: deps.Registerer,
	})
}

// indexing is the component that keeps the index, if there is one.
func (s *Server) indexing() []lifecycle.Component {
	if s.indexer == nil {
		return nil
	}
	return []lifecycle.Component{{Name: "storage index", Run: s.indexer.Run}}
}
