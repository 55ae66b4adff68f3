package status_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/status"
)

// The page answers people with HTML and programs with JSON.
func Example() {
	ctx := context.Background()
	node, err := backend.Open(ctx, backend.Config{Backend: "memory", Cluster: "status", Name: "node-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close(ctx)
	page := status.New(status.Options{Channel: node})
	defer page.Close()

	answer := httptest.NewRecorder()
	page.ServeHTTP(answer, httptest.NewRequest("GET", "/status.json", nil))
	var snapshot status.Snapshot
	if err := json.Unmarshal(answer.Body.Bytes(), &snapshot); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Header().Get("Content-Type"))
	fmt.Println(snapshot.Node.Name, "of", len(snapshot.Members), "in", snapshot.Node.Cluster)
	// Output:
	// application/json
	// node-1 of 1 in status
}
