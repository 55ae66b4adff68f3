package conformance

import (
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

var isolationChecks = []*check{
	{name: "isolation/cluster-name", level: basic, rules: []int{14}, body: isolationClusterName,
		holds: "nothing crosses between clusters of similar names"},
	{name: "isolation/foreign-data", level: basic, rules: []int{14}, needs: stranger, body: isolationForeignData,
		holds: "strangers' frames and data are neither members nor touched"},
}

func isolationClusterName(e *env) {
	type cell struct {
		nodes []*node
		sets  []*set
	}
	var cells []cell
	for i, suffix := range []string{"", "b", ":b", ".b", "*", "/", " b"} {
		in := func(c *backend.Config) { c.Cluster = e.cluster + suffix }
		c := cell{nodes: []*node{e.open("x", in), e.open("y", in)}}
		c.sets = addSets("set", c.nodes)
		c.sets[0].write([]byte(fmt.Sprintf("of cluster %d", i)))
		cells = append(cells, c)
	}
	alone := func() error {
		for _, c := range cells {
			if err := agree(c.nodes...); err != nil {
				return fmt.Errorf("cluster %q: %w", c.nodes[0].Cluster, err)
			}
			if err := holdAll(1, c.sets...); err != nil {
				return fmt.Errorf("cluster %q: %w", c.nodes[0].Cluster, err)
			}
		}
		return nil
	}
	e.eventually(e.limit(converge), "each cluster has two members and one entry", alone)
	e.always(2*e.h.Timing.Channel.Sync, "each cluster is for itself", alone)

	// Frames name their cluster, so a transport that mixes up clusters is found.
	for _, c := range cells {
		for _, n := range c.nodes {
			if r := misled(n); r > 0 {
				e.Errorf("cluster %q: %s was given %v frames that are not for it", n.Cluster, n, r)
			}
		}
	}
	target, rejected := cells[1].nodes[0], cells[1].nodes[0].metric(metricRejected)
	frames := cells[0].nodes[0].tap.recent()
	for _, frame := range frames {
		target.tap.inject(frame)
	}
	e.always(e.scaled(200*time.Millisecond), "each cluster is for itself, whatever the transport delivers", alone)
	if n := target.metric(metricRejected) - rejected; n < float64(len(frames)) {
		e.Errorf("%s counts %v of %d frames of another cluster", metricRejected, n, len(frames))
	}
}

// misled returns how many frames that are not for it a node was given by its driver,
// which may have refused others itself.
func misled(n *node) float64 {
	rejected := n.metric(metricRejected) // first: what is refused meanwhile is counted there a moment later
	n.tap.mu.Lock()
	defer n.tap.mu.Unlock()
	return rejected - float64(n.tap.refused)
}

func isolationForeignData(e *env) {
	untouched := func() error { return nil }
	if e.h.Foreign != nil {
		untouched = e.h.Foreign(e, e.server, e.cluster)
	}
	nodes := e.openAll("a", "b")
	sets := addSets("set", nodes)
	sets[0].write([]byte("ours"))
	sound := func() error {
		if err := agree(nodes...); err != nil {
			return err
		}
		return holdAll(1, sets...)
	}
	e.eventually(e.limit(joiner), "our entry is on both nodes", sound)
	frames := append(nodes[0].tap.recent(), []byte("1764000000"), []byte("*"), []byte("{}"), nil)
	for _, frame := range frames {
		for _, near := range []string{e.cluster + ":", e.cluster + ".x", e.cluster[:len(e.cluster)-1], e.cluster + "*", "*", ">"} {
			e.h.Inject(e, e.server, near, frame)
		}
	}
	e.always(2*e.h.Timing.Channel.Sync, "the cluster is as before", sound)
	for _, n := range nodes {
		if r := misled(n); r > 0 {
			e.Errorf("%s was given %v frames that were sent to clusters of similar names", n, r)
		}
	}
	for _, frame := range frames[len(frames)-4:] {
		e.h.Inject(e, e.server, e.cluster, frame)
	}
	e.always(e.scaled(300*time.Millisecond), "the cluster is as before", sound)
	for _, n := range nodes {
		n.close()
	}
	if err := untouched(); err != nil {
		e.Errorf("the data of strangers was touched: %v", err)
	}
}
