package flow_test

import (
	"context"
	"fmt"

	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/driver/flow"
)

// A driver publishes to the address of one node by a Flow, and shows it all that
// arrives at its own address.
func Example() {
	var b *flow.Flow
	publish := func(_ context.Context, instance string, payload []byte) error { // to the server, which hands it to b
		if b.Heard(payload) {
			fmt.Printf("%s hears %q\n", instance, payload)
		}
		return nil
	}
	a := flow.New("test", "a", publish)
	b = flow.New("test", "b", publish)
	fmt.Println(a.Send(context.Background(), driver.Member{Instance: "b"}, []byte("a frame")))
	// Output:
	// b hears "a frame"
	// <nil>
}
