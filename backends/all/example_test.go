package all_test

import (
	"fmt"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/all"
)

// A program that imports this package leaves the choice to its configuration.
func Example() {
	fmt.Println(backend.Registered())
	// Output: [etcd memberlist memory nats redis rediss]
}
