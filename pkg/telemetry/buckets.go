package telemetry

// LatencyBuckets gives the bounds, in seconds, of histograms of what people wait for. One of them is 1, at which the objectives of
// deploy/prometheus/recording.yaml are.
func LatencyBuckets() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}
}
