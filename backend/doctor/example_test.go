package doctor_test

import (
	"context"
	"fmt"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	_ "github.com/clusterchannel/clusterchannel/backends/memory"
)

// A backend without an ExamineFunc is opened, and sent a frame.
func ExampleRun() {
	b, _ := backend.Lookup("memory")
	doctor.Run(context.Background(), b, driver.Examination{
		Options: driver.Options{Cluster: "alerts", Self: driver.Member{Name: "node-1"}},
		Report:  func(f driver.Finding) { fmt.Println(f.Name, f.Status) },
	})
	// Output:
	// attach ok
	// delivery ok
	// members ok
}
