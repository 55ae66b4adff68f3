package remote_test

import (
	"context"
	"fmt"
	"strings"

	_ "github.com/clusterchannel/clusterchannel/backends/memory"
	"github.com/clusterchannel/clusterchannel/conformance"
	"github.com/clusterchannel/clusterchannel/conformance/remote"
)

// The suite runs on a backend that is up already. For a server, its address
// would stand here.
func ExampleHarness() {
	ctx := context.Background()
	harness, err := remote.Harness(ctx, "memory", map[string]string{"bus": "main"})
	if err != nil {
		fmt.Println(err)
		return
	}
	report, err := conformance.Execute(ctx, harness, conformance.Options{
		Select: func(name string) bool {
			return strings.HasPrefix(name, "members/self") || name == "fault/server-restart"
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range report.Results {
		fmt.Println(strings.TrimSpace(fmt.Sprint(r.Name, " ", r.Outcome, " ", r.Reason)))
	}
	// Output:
	// members/self-at-once passed
	// fault/server-restart not run needs a server it may stop (Harness.Server)
}
