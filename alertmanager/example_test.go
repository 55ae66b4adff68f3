package alertmanager_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"
)

// An instance in a cluster sends an alert to a webhook.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	received := make(chan string, 10)
	webhook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var message struct{ CommonLabels map[string]string }
		_ = json.NewDecoder(r.Body).Decode(&message) // what cannot be read is shown as empty
		received <- message.CommonLabels["alertname"]
	}))
	defer webhook.Close()
	dir, err := os.MkdirTemp("", "alertmanager")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "alertmanager.yml")
	config := fmt.Sprintf("route: {receiver: hook, group_wait: 0s}\nreceivers: [{name: hook, webhook_configs: [{url: %q}]}]\n", webhook.URL)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	node, err := backend.Open(ctx, backend.Config{Backend: "memory", Cluster: "alerts", Name: "node-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close(ctx)
	app, err := alertmanager.New(alertmanager.Options{ConfigFile: file, Cluster: node}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer app.Close()
	api := httptest.NewServer(app.Handler()) // the API, /metrics and the rest
	defer api.Close()

	err = app.Receive(ctx, &model.Alert{Labels: model.LabelSet{"alertname": "DiskFull"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	select {
	case name := <-received:
		fmt.Println(name)
	case <-ctx.Done():
		fmt.Println("nothing was received")
	}
	// Output: DiskFull
}
