package alertmanager_test

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/nflog/nflogpb"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clusterchannel/clusterchannel/alertmanager"
	"github.com/clusterchannel/clusterchannel/backend"
)

// A notification log of Alertmanager, shared without the rest of it.
func ExampleNewLogRecords() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	node, err := backend.Open(ctx, backend.Config{Backend: "memory", Cluster: "logs", Name: "node-1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer node.Close(ctx)
	log, err := nflog.New(nflog.Options{Retention: 120 * time.Hour, Metrics: prometheus.NewRegistry()})
	if err != nil {
		fmt.Println(err)
		return
	}
	records, err := alertmanager.NewLogRecords(log)
	if err != nil {
		fmt.Println(err)
		return
	}
	channel, err := node.AddState("nfl", records, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	records.SetBroadcast(channel.Broadcast) // not log.SetBroadcast

	receiver := &nflogpb.Receiver{GroupName: "team", Integration: "webhook"}
	if err := log.Log(receiver, "group", []uint64{1}, nil, nil, 0); err != nil {
		fmt.Println(err)
		return
	}
	for id := range records.EntryIDs() {
		entry, err := records.Entry(id)
		fmt.Println(len(entry) > 0, err)
	}
	// Output: true <nil>
}
