// Package metrics looks at what the running system tells its operators: metrics, traces, health.
package metrics
