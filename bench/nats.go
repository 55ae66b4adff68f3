package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	gonats "github.com/nats-io/nats.go"
)

var natsServer = serverKind{
	binary: "nats-server",
	args: func(host, port, monitor, _ string) []string {
		return []string{"--addr", host, "--port", port, "--http_port", monitor}
	},
	monitor: "http://%s/varz",
	onOwn:   true,
	usage:   natsUsage,
	version: natsVersion,
}

var rawNATS = raw{title: "raw nats.go", open: openRawNATS}

// varz is the page of a NATS server's counters.
type varz struct {
	Version  string  `json:"version"`
	InMsgs   float64 `json:"in_msgs"`
	OutMsgs  float64 `json:"out_msgs"`
	InBytes  float64 `json:"in_bytes"`
	OutBytes float64 `json:"out_bytes"`
}

func readVarz(ctx context.Context, e endpoint) (v varz, err error) {
	err = get(ctx, e.Monitor, func(r *http.Response) error { return json.NewDecoder(r.Body).Decode(&v) })
	return v, err
}

func natsVersion(ctx context.Context, e endpoint) (string, error) {
	v, err := readVarz(ctx, e)
	return "NATS " + v.Version, err
}

func natsUsage(ctx context.Context, e endpoint) (usage, error) {
	v, err := readVarz(ctx, e)
	return usage{In: v.InMsgs, Out: v.OutMsgs, Bytes: v.InBytes + v.OutBytes, BytesIn: v.InBytes}, err
}

// bareNATS is nats.go with nothing around it: each node subscribes, and the
// first publishes.
type bareNATS struct {
	subject string
	store   func() *store
	conns   []*gonats.Conn
	all     []*store
}

func openRawNATS(p place, n int, s func() *store) (line, error) {
	m := &bareNATS{store: s, subject: "bench." + rand.Text()[:8]}
	for range n {
		if err := m.add(p.Server.Addr); err != nil {
			m.close()
			return nil, err
		}
	}
	return m, nil
}

func (m *bareNATS) add(addr string) error {
	nc, err := gonats.Connect("nats://" + addr)
	if err != nil {
		return err
	}
	s := m.store()
	m.conns, m.all = append(m.conns, nc), append(m.all, s)
	if _, err := nc.Subscribe(m.subject, func(msg *gonats.Msg) { _ = s.Merge(msg.Data) }); err != nil { // a loss shows as missing
		return err
	}
	return nc.Flush()
}

func (m *bareNATS) broadcast(b []byte) {
	if err := m.conns[0].Publish(m.subject, b); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

func (m *bareNATS) burst(all [][]byte) {
	for _, b := range all {
		m.broadcast(b)
	}
}

func (m *bareNATS) stores() []*store { return m.all }

func (m *bareNATS) close() {
	for _, nc := range m.conns {
		nc.Close()
	}
}

var _ line = (*bareNATS)(nil)
