package main

import (
	"fmt"
	"io"
	"sort"
	"strconv"
	"sync"
	"time"
)

// Upper bounds in seconds; the usual ones of Prometheus' clients.
var bounds = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

type metrics struct {
	lock     sync.Mutex
	byStatus map[int]uint64
	buckets  []uint64 // not cumulative; the last one is +Inf
	seconds  float64
}

// The statuses that a rate is computed of exist from the start: a series that begins with its first error has no
// increase to show for it.
func newMetrics() *metrics {
	return &metrics{byStatus: map[int]uint64{200: 0, 500: 0}, buckets: make([]uint64, len(bounds)+1)}
}

func (m *metrics) observe(status int, took time.Duration) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.byStatus[status]++
	m.buckets[sort.SearchFloat64s(bounds, took.Seconds())]++
	m.seconds += took.Seconds()
}

func (m *metrics) write(out io.Writer) {
	m.lock.Lock()
	defer m.lock.Unlock()
	fmt.Fprint(out, "# TYPE http_requests_total counter\n")
	for status, count := range m.byStatus {
		fmt.Fprintf(out, "http_requests_total{status=\"%d\"} %d\n", status, count)
	}
	fmt.Fprint(out, "# TYPE http_request_duration_seconds histogram\n")
	var sum uint64
	for index, count := range m.buckets {
		sum += count
		bound := "+Inf"
		if index < len(bounds) {
			bound = strconv.FormatFloat(bounds[index], 'g', -1, 64)
		}
		fmt.Fprintf(out, "http_request_duration_seconds_bucket{le=\"%s\"} %d\n", bound, sum)
	}
	fmt.Fprintf(out, "http_request_duration_seconds_sum %g\nhttp_request_duration_seconds_count %d\n", m.seconds, sum)
}
