package main

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net"
	"os"
	"strconv"

	"github.com/olric-data/olric"
	"github.com/olric-data/olric/config"
)

func main() {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	cells, err := newBench(n, "").measure(context.Background(), olricMap)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(cells); err != nil {
		log.Fatal(err)
	}
}

// olricMap is a DMap of an embedded node that is alone, and so has all its partitions. It
// is divided among the nodes and not held by each, so there is no state of one to be
// snapshot or merged.
func olricMap(int) (*system, error) {
	ctx := context.Background()
	c := config.New("local")
	c.BindAddr, c.LogOutput = "127.0.0.1", io.Discard
	c.MemberlistConfig.BindAddr = "127.0.0.1"
	for _, port := range []*int{&c.BindPort, &c.MemberlistConfig.BindPort} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*port = l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	started, ended := make(chan struct{}), make(chan error, 1)
	c.Started = func() { close(started) }
	node, err := olric.New(c)
	if err != nil {
		return nil, err
	}
	go func() { ended <- node.Start() }()
	select {
	case <-started:
	case err := <-ended:
		return nil, err
	}
	m, err := node.NewEmbeddedClient().NewDMap("sessions")
	if err != nil {
		return nil, err
	}
	return &system{
		name: "olric DMap, one node",
		set:  func(key string, value []byte) error { return m.Put(ctx, key, value) },
		end: func() {
			if err := node.Shutdown(ctx); err != nil {
				log.Print(err)
			}
			<-ended
		},
	}, nil
}
