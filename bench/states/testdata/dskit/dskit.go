package main

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/grafana/dskit/ring"
)

func main() {
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	cells, err := newBench(n, "").measure(context.Background(), dskitRing)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(cells); err != nil {
		log.Fatal(err)
	}
}

// dskitRing is the state of dskit's rings, of which the address holds the value. Setting
// one is a change in place, without the copy and the merge of all by which its store does
// it.
func dskitRing(int) (*system, error) {
	d := ring.NewDesc()
	entry := func(value []byte) ring.InstanceDesc {
		return ring.InstanceDesc{Addr: string(value), Timestamp: time.Now().Unix()}
	}
	return &system{
		name: "dskit ring.Desc",
		set:  func(key string, value []byte) error { d.Ingesters[key] = entry(value); return nil },
		snapshot: func() ([]byte, error) {
			return d.Marshal()
		},
		merge: func(b []byte) error {
			var other ring.Desc
			if err := other.Unmarshal(b); err != nil {
				return err
			}
			_, err := d.Merge(&other, false)
			return err
		},
		one: func(key string) ([]byte, error) {
			return (&ring.Desc{Ingesters: map[string]ring.InstanceDesc{key: entry(make([]byte, 100))}}).Marshal()
		},
		end: func() {},
	}, nil
}
