package scheduler_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"

	"github.com/clusterchannel/clusterchannel/scheduler"
)

const rules = `
groups:
  - name: hosts
    interval: 50ms
    rules:
      - alert: HostDown
        expr: up == 0
        labels: {severity: page}
`

// A Scheduler queries a Prometheus, here a server that always finds one host
// down, and sends the alerts that fire to a receiver.
func Example() {
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"db-1"},"value":[1700000000,"0"]}]}}`)
	}))
	defer prometheus.Close()
	dir, err := os.MkdirTemp("", "rules")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "hosts.yml")
	if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	alerts := make(chan *model.Alert, 100)
	s, err := scheduler.New(scheduler.Options{
		RuleFiles: []string{file},
		QueryURL:  prometheus.URL,
		Send: func(_ context.Context, all ...*model.Alert) error {
			for _, a := range all {
				select {
				case alerts <- a:
				default: // one is enough here
				}
			}
			return nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	select {
	case a := <-alerts:
		fmt.Println(a.Name(), a.Labels["instance"], a.Labels["severity"])
	case <-time.After(30 * time.Second):
		fmt.Println("nothing fires")
	}
	// Output: HostDown db-1 page
}
