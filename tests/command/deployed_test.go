package command_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/servers/container"
)

// place is a network of nodes that run as the files of deploy/ have it, each a
// container of our own image that is confined as a restricted pod is. The test
// listens in the network for what they send.
type place struct {
	image string
	mesh  *container.Network
	sink  *sink
	last  byte // the last part of the address that was given last

	// turn takes the place of the 15s in the files, so that it can be seen in less
	// time that a turn that is over was not taken.
	turn time.Duration
}

// Where the files of a set-up and the state are, in all of deploy/.
const (
	configDir = "/etc/clusterchannel"
	dataDir   = "/data"
)

func newPlace(t *testing.T) *place {
	t.Helper()
	image := ownImage(t)
	mesh := container.NewNetwork(t, false)
	return &place{image: image, mesh: mesh, sink: newSinkAt(t, mesh.Gateway().String()), last: 9, turn: 2 * time.Second}
}

// deployed is a file of deploy/.
func deployed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// address is one of the network's own, by its last part.
func (p *place) address(last byte) netip.Addr {
	a := p.mesh.Prefix().Addr().As4()
	a[3] = last
	return netip.AddrFrom4(a)
}

// fresh is an address that no node has had.
func (p *place) fresh() netip.Addr {
	p.last++
	return p.address(p.last)
}

// node is what differs from one to another.
type node struct {
	name    string
	addr    netip.Addr
	aliases []string
	args    []string
	env     map[string]string
	files   map[string]string // by path
}

// start starts a node whose alertmanager.yml sends to the sink.
func (p *place) start(t *testing.T, n node) *host {
	t.Helper()
	files := map[string][]byte{configDir + "/alertmanager.yml": []byte(p.sink.config())}
	for path, text := range n.files {
		files[path] = []byte(text)
	}
	env := map[string]string{"GF_UNIFIED_ALERTING_HA_PEER_TIMEOUT": p.turn.String()}
	for name, value := range n.env {
		env[name] = value
	}
	spec := container.Spec{
		Image: p.image, Cmd: n.args, Env: env, Files: files, Hostname: n.name, Port: 9093, Halt: terminate,
		Networks: map[*container.Network][]string{p.mesh: n.aliases},
		Confined: true, Volumes: []string{configDir, dataDir},
	}
	if n.addr.IsValid() {
		spec.Addresses = map[*container.Network]netip.Addr{p.mesh: n.addr}
	}
	h := &host{name: n.name, Server: container.Start(t, spec)}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s:\n%s", h.name, h.Logs())
		}
	})
	return h
}

func (h *host) ready() error { _, err := h.get("/-/ready"); return err }

// deliversOnce checks that nodes, in the order of their names, are one cluster
// with the same silences, which sends an alert that all receive only once; and
// that each stores its state when it ends.
func (p *place) deliversOnce(t *testing.T, nodes ...*host) {
	t.Helper()
	f := hosts{mesh: p.mesh, nodes: nodes, acked: map[string]bool{}}
	f.whole(t, "started")
	for i := range nodes {
		f.write(t, "of each", i)
	}
	f.whole(t, "silenced")
	for _, h := range nodes {
		await(t, h.name+" is ready", h.ready)
		if out := h.Exec(t, probe(t)...); out != "" {
			t.Errorf("%s: the health check prints %q", h.name, out)
		}
	}
	for _, h := range nodes {
		post(t, "http://"+h.Addr()+"/api/v2/alerts", `[{"labels":{"alertname":"fire"}}]`)
	}
	await(t, "sent", func() error {
		if len(p.sink.sent()) == 0 {
			return fmt.Errorf("nothing was sent")
		}
		return nil
	})
	<-time.After(time.Duration(len(nodes)) * p.turn) // the turns of the others
	if got := p.sink.sent(); !slices.Equal(got, []string{"fire"}) {
		t.Errorf("sent: %q, want one", got)
	}
	for _, h := range nodes {
		h.Stop(t)
		kept(t, h)
	}
}

// kept is the state of a node that has ended, as its volume has it.
func kept(t *testing.T, h *host) map[string]string {
	t.Helper()
	state := map[string]string{}
	for _, name := range []string{"alerts", "nflog", "silences"} {
		file := dataDir + "/" + name
		state[file] = string(h.File(t, file))
	}
	return state
}

// probe is the health check of the image.
func probe(t *testing.T) []string {
	t.Helper()
	_, check, ok := strings.Cut(deployed(t, "Dockerfile"), "\nHEALTHCHECK ")
	if !ok {
		t.Fatal("the image has no health check")
	}
	check, _, _ = strings.Cut(check, "\n")
	var args []string
	if err := json.Unmarshal([]byte(check[strings.Index(check, "["):]), &args); err != nil {
		t.Fatal(err)
	}
	return args
}
