package etcd_test

import (
	"context"
	"fmt"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/etcd"
)

// A node of the cluster "alerts", which meets the others at three etcd members.
func Example() {
	ctx := context.Background()
	channel, err := backend.Open(ctx, backend.Config{
		Backend: "etcd",
		Cluster: "alerts",
		Name:    "node-1",
		Params: map[string]string{
			"endpoints":    "etcd-0:2379,etcd-1:2379,etcd-2:2379",
			"username":     "alerts",
			"password":     "secret",
			"tls":          "true",
			"tls_ca_file":  "/etc/ssl/etcd-ca.pem",
			"lease_ttl":    "5s",
			"dial_timeout": "1s",
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer channel.Close(ctx) //nolint:errcheck // the program ends
	fmt.Println(channel.View().Position)
}

// Open reports at once what it can know to be wrong.
func Example_badConfiguration() {
	_, err := backend.OpenURL(context.Background(), "etcd://localhost:2379?cluster=alerts&lease_ttl=2500ms")
	fmt.Println(err)
	// Output:
	// open etcd: bad configuration: lease_ttl: 2.5s is not whole seconds from 1s to 1h0m0s
}
