package picture

import (
	"math"
	"strconv"
	"strings"
)

// value writes a number in one of Grafana's units.
func value(v float64, unit string, decimals *int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	digits := func(most int) int {
		if decimals != nil {
			return *decimals
		}
		return most
	}
	switch unit {
	case "percentunit":
		return number(v*100, digits(1)) + " %"
	case "s":
		return seconds(v, digits(1))
	case "dtdurations":
		return duration(v)
	case "bytes":
		return scaled(v, 1024, digits(1), " B", " KiB", " MiB", " GiB", " TiB")
	case "decbytes":
		return scaled(v, 1000, digits(1), " B", " kB", " MB", " GB", " TB")
	case "Bps":
		return scaled(v, 1000, digits(1), " B/s", " kB/s", " MB/s", " GB/s")
	case "cps", "ops", "reqps":
		return scaled(v, 1000, digits(2), "", " K", " M") + map[string]string{"cps": " c/s", "ops": " ops/s", "reqps": " req/s"}[unit]
	case "currencyUSD":
		return "$" + number(v, digits(2))
	}
	return scaled(v, 1000, digits(2), "", " K", " Mil", " Bil")
}

func scaled(v, step float64, digits int, units ...string) string {
	i := 0
	for ; i < len(units)-1 && math.Abs(v) >= step; i++ {
		v /= step
	}
	return number(v, digits) + units[i]
}

// number rounds, and leaves out what comes after the point if it is 0.
func number(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

func seconds(v float64, digits int) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0 s"
	case a < 1e-3:
		return number(v*1e6, digits) + " µs"
	case a < 1:
		return number(v*1e3, digits) + " ms"
	}
	return number(v, digits) + " s"
}

func duration(v float64) string {
	for _, u := range []struct {
		seconds float64
		name    string
	}{{365 * 86400, "years"}, {86400, "days"}, {3600, "hours"}, {60, "minutes"}} {
		if math.Abs(v) >= 2*u.seconds {
			return number(v/u.seconds, 0) + " " + u.name
		}
	}
	return number(v, 0) + " s"
}
