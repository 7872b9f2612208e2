package observe

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/pkg/testserver/prometheus"
	"github.com/yubin-mail/yubin/tests/observe/picture"
)

var (
	pictures = flag.String("pictures", "", "write pictures of the dashboards to this folder, with the data of the test")
	drawn    = []string{"yubin-overview", "yubin-smtp", "yubin-scaling"}
)

const (
	// shown is the time that the pictures show.
	shown = 3 * time.Minute
	// points is how many values of a line are drawn.
	points = 60
)

// draw writes the pictures for the README. The load goes on until there is enough to see.
func (w *world) draw(t *testing.T) {
	t.Helper()
	if missing := shown - time.Since(w.begun); missing > 0 {
		select {
		case <-t.Context().Done():
		case <-time.After(missing):
		}
	}
	for _, d := range dashboards(t) {
		if !slices.Contains(drawn, d.UID) {
			continue
		}
		data := picture.Data{To: time.Now(), Lines: map[int][]picture.Line{}}
		data.From = data.To.Add(-shown)
		for i, panel := range d.Panels {
			for _, target := range panel.Targets {
				series, err := w.prometheus.Range(t.Context(), substitute(t, d, target.Expr), data.From, data.To, data.To.Sub(data.From)/points)
				require.NoError(t, err)
				for _, s := range series {
					if slices.ContainsFunc(s.Samples, func(v prometheus.Sample) bool { return !math.IsNaN(v.Value) }) {
						data.Lines[i] = append(data.Lines[i], picture.Line{Legend: picture.Legend(target.LegendFormat, s.Labels), Samples: s.Samples})
					}
				}
			}
		}
		svg := picture.Draw(d, data, "drawn by tests/observe with the data of its own run")
		require.NoError(t, os.WriteFile(filepath.Join(*pictures, d.UID+".svg"), svg, 0o644))
	}
}
