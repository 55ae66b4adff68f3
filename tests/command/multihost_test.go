package command_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/conformance/servers/container"
)

// hosts are nodes in containers of this project's own image. They meet on one
// network, by an alias that all of them have, as the pods of a headless service
// do; the test reaches their API by another, so that a node that is cut off can
// still be asked.
type hosts struct {
	image string
	mesh  *container.Network
	nodes []*host
	acked map[string]bool // silences that a node which was never killed since has acknowledged
}

type host struct {
	*container.Server
	name string
}

const service = "alerts"

const quiet = "route: {receiver: none}\nreceivers: [{name: none}]\n"

func newHosts(t *testing.T, n int) *hosts {
	t.Helper()
	image := ownImage(t)
	f := &hosts{image: image, mesh: container.NewNetwork(t, true), acked: map[string]bool{}}
	outside := container.NewNetwork(t, false)
	for i := range n {
		name := fmt.Sprintf("node-%d", i)
		f.nodes = append(f.nodes, &host{name: name, Server: container.Start(t, container.Spec{
			Image: image,
			Cmd: []string{
				"alertmanager", "--config.file=/alertmanager.yml", "--storage.path=", "--web.listen-address=:9093",
				"--cluster.peer-name=" + name, "--cluster.peer=" + service + ":9094", "--cluster.advertise-address=" + name,
			},
			Files:    map[string][]byte{"/alertmanager.yml": []byte(quiet)},
			Port:     9093,
			Networks: map[*container.Network][]string{f.mesh: {name, service}, outside: nil},
		})})
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, h := range f.nodes {
				t.Logf("%s:\n%s", h.name, h.Logs())
			}
		}
	})
	return f
}

// ownImage is made by conformance/images/build.
func ownImage(t *testing.T) string { return needsImage(t, "clusterchannel:conformance") }

// needsImage skips a test where the image is not available.
func needsImage(t *testing.T, image string) string {
	t.Helper()
	const variable = "CLUSTERCHANNEL_SERVERS"
	choice := os.Getenv(variable)
	if choice == "process" {
		t.Skipf("%s=%s: hosts are containers", variable, choice)
	}
	if err := container.Obtain(image); err != nil {
		if choice == "required" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return image
}

func (h *host) get(path string) ([]byte, error) {
	return answer(api.Get("http://" + h.Addr() + path))
}

// api does not keep connections, which a fault would break.
var api = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func answer(resp *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if closed := resp.Body.Close(); err == nil {
		err = closed
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return body, err
}

// silence makes a silence on h and returns its id.
func (h *host) silence(t *testing.T, what string) string {
	t.Helper()
	now := time.Now().UTC()
	body, err := json.Marshal(map[string]any{
		"matchers": []map[string]any{{"name": "alertname", "value": what, "isRegex": false, "isEqual": true}},
		"startsAt": now, "endsAt": now.Add(time.Hour), "createdBy": h.name, "comment": what,
	})
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ SilenceID string }
	reply, err := answer(api.Post("http://"+h.Addr()+"/api/v2/silences", "application/json", bytes.NewReader(body)))
	if err == nil {
		err = json.Unmarshal(reply, &made)
	}
	if err != nil {
		t.Fatalf("a silence on %s: %v", h.name, err)
	}
	return made.SilenceID
}

// write makes silences on the nodes, and remembers that they were acknowledged.
func (f *hosts) write(t *testing.T, what string, on ...int) {
	t.Helper()
	for _, i := range on {
		for n := range 5 {
			f.acked[f.nodes[i].silence(t, fmt.Sprintf("%s-%d", what, n))] = true
		}
	}
}

func (h *host) silences() ([]string, error) {
	body, err := h.get("/api/v2/silences")
	if err != nil {
		return nil, err
	}
	var all []struct{ ID string }
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, s := range all {
		ids[s.ID] = true
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

func (h *host) peers() ([]string, error) {
	body, err := h.get("/api/v2/status")
	if err != nil {
		return nil, err
	}
	var status struct {
		Cluster struct{ Peers []struct{ Name string } }
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return nil, err
	}
	var names []string
	for _, p := range status.Cluster.Peers {
		names = append(names, p.Name)
	}
	return names, nil
}

var positionLine = regexp.MustCompile(`(?m)^alertmanager_peer_position(?:\{[^}]*\})? (\d+)$`)

func (h *host) position() (string, error) {
	body, err := h.get("/metrics")
	if err != nil {
		return "", err
	}
	found := positionLine.FindSubmatch(body)
	if found == nil {
		return "", fmt.Errorf("no position among the metrics")
	}
	return string(found[1]), nil
}

// check returns what is wrong if the nodes in on should be one cluster: one
// view, positions that are a permutation, equal silences.
func (f *hosts) check(on ...int) error {
	var want []string
	for _, i := range on {
		want = append(want, f.nodes[i].name)
	}
	var positions []string
	var first []string
	for k, i := range on {
		h := f.nodes[i]
		peers, err := h.peers()
		if err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		for j, peer := range peers {
			peers[j], _, _ = strings.Cut(peer, "+")
		}
		if !slices.Equal(peers, want) {
			return fmt.Errorf("%s lists %q, want %q", h.name, peers, want)
		}
		position, err := h.position()
		if err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		positions = append(positions, position)
		have, err := h.silences()
		if err != nil {
			return fmt.Errorf("%s: %w", h.name, err)
		}
		if k == 0 {
			first = have
		}
		if !slices.Equal(have, first) {
			return fmt.Errorf("%s has %d silences, %s has %d", h.name, len(have), f.nodes[on[0]].name, len(first))
		}
	}
	for k := range on {
		if !slices.Contains(positions, fmt.Sprint(k)) {
			return fmt.Errorf("positions are %q", positions)
		}
	}
	return nil
}

// whole waits until all nodes are one cluster again, and checks that it has
// every silence that was acknowledged.
func (f *hosts) whole(t *testing.T, when string) {
	t.Helper()
	all := make([]int, len(f.nodes))
	for i := range all {
		all[i] = i
	}
	f.part(t, when, all...)
	have, err := f.nodes[0].silences()
	if err != nil {
		t.Fatal(err)
	}
	for id := range f.acked {
		if !slices.Contains(have, id) {
			t.Fatalf("%s: silence %s was acknowledged and is lost", when, id)
		}
	}
}

// part waits until some nodes are their own cluster.
func (f *hosts) part(t *testing.T, when string, on ...int) {
	t.Helper()
	began := time.Now()
	await(t, when, func() error { return f.check(on...) })
	t.Logf("%s: after %v", when, time.Since(began).Round(10*time.Millisecond))
}

func TestHosts(t *testing.T) {
	f := newHosts(t, 3)
	f.whole(t, "started")
	f.write(t, "together", 0, 1, 2)
	f.whole(t, "written")

	t.Log("a host is frozen")
	f.nodes[1].Pause(t)
	f.part(t, "dropped by the others", 0, 2)
	f.write(t, "frozen", 0, 2)
	f.nodes[1].Resume(t)
	f.whole(t, "thawed")

	t.Log("a host is killed")
	f.nodes[2].Kill(t)
	f.part(t, "dropped by the others", 0, 1)
	f.write(t, "killed", 0, 1)
	f.nodes[2].Start(t)
	f.whole(t, "back")

	t.Log("a host is cut off, and comes back at another address")
	before := f.mesh.Address(t, f.nodes[0].Server)
	f.mesh.Disconnect(t, f.nodes[0].Server)
	f.part(t, "the others are on their own", 1, 2)
	f.write(t, "cut", 0, 1, 2)
	f.occupy(t)
	f.mesh.Connect(t, f.nodes[0].Server, f.nodes[0].name, service)
	if now := f.mesh.Address(t, f.nodes[0].Server); now == before {
		t.Errorf("it is still at %v: this shows nothing of another address", now)
	}
	f.whole(t, "reconnected")

	t.Log("all are restarted at once, at new addresses")
	for _, h := range f.nodes {
		h.Stop(t)
	}
	clear(f.acked) // nobody lived on
	old := f.readdress(t)
	for _, h := range f.nodes {
		h.Start(t)
	}
	f.whole(t, "restarted")
	for _, h := range f.nodes {
		if now := f.mesh.Address(t, h.Server); now == old[h.name] {
			t.Errorf("%s is still at %v: this shows nothing of new addresses", h.name, now)
		}
	}
	f.write(t, "anew", 0, 1, 2)
	f.whole(t, "written again")
}

// occupy makes a stranger use the lowest free address of the mesh.
func (f *hosts) occupy(t *testing.T) {
	t.Helper()
	container.Start(t, container.Spec{
		Image:    f.image,
		Cmd:      []string{"alertmanager", "--config.file=/alertmanager.yml", "--storage.path=", "--cluster.listen-address="},
		Files:    map[string][]byte{"/alertmanager.yml": []byte(quiet)},
		Networks: map[*container.Network][]string{f.mesh: nil},
	})
}

// readdress removes stopped nodes from the mesh and adds them again in another
// order, each at the address of its neighbour. It returns where they were.
func (f *hosts) readdress(t *testing.T) map[string]netip.Addr {
	t.Helper()
	old := map[string]netip.Addr{}
	for _, h := range f.nodes {
		old[h.name] = f.mesh.Address(t, h.Server)
		f.mesh.Disconnect(t, h.Server)
	}
	for i := range f.nodes {
		h := f.nodes[(i+1)%len(f.nodes)]
		f.mesh.Connect(t, h.Server, h.name, service)
	}
	return old
}

// await polls until check returns nil.
func await(t *testing.T, what string, check func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("%s: after %v: %v", what, patience, err)
		}
	}
}
