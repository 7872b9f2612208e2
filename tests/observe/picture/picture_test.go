package picture

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/yubin-mail/yubin/pkg/testserver/prometheus"
)

func TestValuesAreWrittenInTheirUnits(t *testing.T) {
	three := 3
	for _, test := range []struct {
		value    float64
		unit     string
		decimals *int
		want     string
	}{
		{0.1234, "percentunit", nil, "12.3 %"},
		{0.99987, "percentunit", &three, "99.987 %"},
		{0, "s", nil, "0 s"},
		{0.0000123, "s", nil, "12.3 µs"},
		{0.0123, "s", nil, "12.3 ms"},
		{12, "s", nil, "12 s"},
		{3 * 365 * 86400, "dtdurations", nil, "3 years"},
		{90, "dtdurations", nil, "90 s"},
		{5e9, "decbytes", nil, "5 GB"},
		{1536, "bytes", nil, "1.5 KiB"},
		{1234, "cps", nil, "1.23 K c/s"},
		{-0.001, "short", nil, "0"},
		{math.NaN(), "short", nil, "NaN"},
		{math.Inf(1), "s", nil, "+Inf"},
		{0.005, "currencyUSD", nil, "$0.01"},
	} {
		require.Equal(t, test.want, value(test.value, test.unit, test.decimals))
	}
}

func TestAPictureIsXMLWhateverTheDataAre(t *testing.T) {
	var d Dashboard
	require.NoError(t, json.Unmarshal([]byte(`{"title": "Mail <1>", "panels": [
		{"title": "Row", "type": "row", "gridPos": {"w": 24, "h": 1}},
		{"title": "A & B", "type": "stat", "gridPos": {"w": 6, "h": 4, "y": 1}},
		{"title": "Bars", "type": "bargauge", "gridPos": {"w": 6, "h": 4, "x": 6, "y": 1}},
		{"title": "Table", "type": "table", "gridPos": {"w": 6, "h": 4, "x": 12, "y": 1}},
		{"title": "Graph", "type": "timeseries", "gridPos": {"w": 6, "h": 8, "y": 5}, "fieldConfig": {"defaults": {"custom": {"stacking": {"mode": "normal"}}}}},
		{"title": "Nothing", "type": "timeseries", "gridPos": {"w": 6, "h": 8, "x": 6, "y": 5}}]}`), &d))
	now := time.Unix(1_800_000_000, 0)
	data := Data{From: now, To: now.Add(time.Minute), Lines: map[int][]Line{}}
	for i := 1; i <= 4; i++ {
		for _, v := range []float64{0, 1, -1, math.NaN(), math.Inf(1)} {
			data.Lines[i] = append(data.Lines[i], Line{Legend: `"<legend>" & more`, Samples: []prometheus.Sample{{Time: now, Value: 0.5}, {Time: data.To, Value: v}}})
		}
	}
	svg := string(Draw(d, data, "a note"))
	for decoder := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := decoder.Token(); err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
	}
	for _, want := range []string{"Mail &lt;1&gt;", "A &amp; B", "No data", "a note"} {
		require.Contains(t, svg, want)
	}
	require.NotContains(t, strings.ReplaceAll(svg, ">NaN<", ""), "NaN", "in no coordinate")
}

func TestLegendsNameLabels(t *testing.T) {
	require.Equal(t, "put ok", Legend("{{op}} {{ result }}", map[string]string{"op": "put", "result": "ok"}))
}
