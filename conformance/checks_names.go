package conformance

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// What comes out is what went in, or Open refuses it by name.
var namesChecks = []*check{
	{name: "names/members", level: basic, rules: []int{8, 9}, body: namesMembers,
		holds: "names that differ in case, in their last of 128 bytes or in a separator are members of their own, listed as they were given"},
	{name: "names/metadata", level: basic, rules: []int{9}, body: namesMetadata,
		holds: "metadata of any text is listed as it was given, after a node has come back and after another driver was opened"},
	{name: "names/clusters", level: basic, rules: []int{14}, body: namesClusters,
		holds: "cluster names that differ in case, normal form, escapes, wildcards, white space or their last of 200 bytes are clusters of their own"},
	{name: "names/listed", level: basic, rules: []int{8, 9}, body: namesListed,
		holds: "a transport that knows its members lists each once, this node included, at addresses that differ"},
}

// openNamed opens a node, unless what it is called is refused by name.
func (e *env) openNamed(key string, edit func(*backend.Config)) *node {
	e.Helper()
	n, err := e.prepare("node", edit)
	if err != nil {
		e.Fatal(err)
	}
	err = n.start(e.Context())
	switch {
	case err == nil:
		return n
	case !errors.Is(err, backend.ErrConfig) || !strings.Contains(err.Error(), key):
		e.Fatalf("Open with the name %q in the cluster %q: %v; want that it opens, or an error that wraps ErrConfig and names the key %s", n.Name, n.Cluster, err, key)
	}
	e.notChecked("refused by name: %v", err)
	return nil
}

func namesMembers(e *env) {
	long := strings.Repeat("n", 127)
	var nodes []*node
	for _, name := range []string{"node", "Node", "NODE", "n.o-d:e_", "no.de", long + "a", long + "b"} {
		if n := e.openNamed("name", func(c *backend.Config) { c.Name = name }); n != nil {
			n.Name = name
			nodes = append(nodes, n)
		}
	}
	var want []string
	for _, n := range nodes {
		want = append(want, n.config.Name)
	}
	slices.Sort(want)
	e.within(converge, "all list all, by the names that they were given", func() error {
		for _, n := range nodes {
			var names []string
			for _, m := range n.Members() {
				names = append(names, m.Name)
			}
			if !slices.Equal(names, want) {
				return fmt.Errorf("%s lists %q, want %q", n, names, want)
			}
		}
		return errors.Join(asGiven(nodes), agree(nodes...))
	})
	e.always(e.intervals(5), "they go on side by side", func() error {
		for _, n := range nodes {
			if n.tap.opened() != 1 {
				return fmt.Errorf("%s has opened its driver %d times: the server takes two of them for one client", n, n.tap.opened())
			}
		}
		return agree(nodes...)
	})
}

// asGiven reports whether the lists of a transport that knows its members have nodes
// as they were described to Open. The portable layer may know better, and hide it.
func asGiven(nodes []*node) error {
	for _, n := range nodes {
		for _, of := range nodes {
			i := slices.IndexFunc(n.tap.list(), func(m driver.Member) bool { return m.Instance == of.self.Instance })
			if i < 0 {
				continue // see names/listed
			}
			if m := n.tap.list()[i]; m.Name != of.config.Name || !maps.Equal(m.Meta, of.config.Meta) {
				return fmt.Errorf("%s: Handler.Members was given the name %q and the metadata %q, want %q and %q, as Options.Self has them", n, m.Name, m.Meta, of.config.Name, of.config.Meta)
			}
		}
	}
	return nil
}

// hostileMeta is text that is altered by what is not careful: 450 bytes of it.
var hostileMeta = map[string]string{
	"empty": "", "lines": "a\nb\r\nc\n", "blanks": " \t x ", "key": "lower", "Key": "upper", " key ": "blanks",
	"caf\u00e9": "composed \u00e9", "cafe\u0301": "decomposed e\u0301", "quotes": `"'` + "`\\\"", "json": `{"a":[1,null]}`,
	"separators": "a=b;c,d|e/f:g&h", "wildcards": "* > # + ? $1 %s _", "escapes": "%2f%00%%+&amp;\\n", "control": "\x00\x01\x7f", "number": "007", "bool": "true", "null": "null",
	"emoji": "\U0001f511\ufe0f", "wide": "\u9375\u3000",
}

func namesMetadata(e *env) {
	with := func(meta map[string]string) func(*backend.Config) {
		return func(c *backend.Config) { c.Meta = meta }
	}
	a := e.openNamed("meta", func(c *backend.Config) { c.Name, c.Meta = "a", hostileMeta })
	if a == nil {
		return
	}
	a.Name = "a"
	b := e.open("b", with(map[string]string{"zone": "north"}))
	nodes := []*node{a, b}
	listed := func(nodes ...*node) error {
		for _, n := range nodes {
			for _, of := range nodes {
				i := slices.IndexFunc(n.Members(), func(m backend.Member) bool { return m.Instance == of.self.Instance })
				if i < 0 {
					return fmt.Errorf("%s does not list %s", n, of)
				}
				got, want := n.Members()[i].Meta, of.config.Meta
				if !maps.Equal(got, want) {
					return fmt.Errorf("%s lists %s with the metadata %q, want %q", n, of, got, want)
				}
			}
		}
		return errors.Join(asGiven(nodes), agree(nodes...))
	}
	e.within(converge, "each lists the other's metadata as it was given", func() error { return listed(nodes...) })
	b.close()
	b = e.open("b", with(map[string]string{"zone": "south", "rack": "7"}))
	nodes[1] = b
	e.within(converge, "a name that comes back has the metadata that it has now", func() error { return listed(nodes...) })
	for _, n := range nodes {
		opens := n.tap.opened()
		n.tap.giveUp()
		e.within(restart, "a node whose driver was replaced has its metadata", func() error {
			if n.tap.opened() == opens {
				return fmt.Errorf("%s has opened no other driver", n)
			}
			return listed(nodes...)
		})
	}
	e.always(e.intervals(5), "it stays so", func() error { return listed(nodes...) })
	nodes = append(nodes, e.open("c"))
	e.within(converge, "who comes last lists all metadata", func() error { return listed(nodes...) })
}

func namesClusters(e *env) {
	long := e.cluster + strings.Repeat("n", 199-len(e.cluster))
	base := e.cluster
	names := []string{
		base, base + "/b", base + "/+", base + "/#", base + ".b", base + ".*", base + ".>", base + "_b", base + "%b", base + "+b",
		base + "%2fb", base + "%2Fb", base + "\\b", base + "'b", base + "?b", base + "B", base + "b",
		base + " ", base + "\x00", base + "\u00e9", base + "e\u0301", long + "a", long + "b",
	}
	opened := make([]*node, len(names))
	var wg sync.WaitGroup
	for i, cluster := range names {
		wg.Go(func() { opened[i] = e.openNamed("cluster", func(c *backend.Config) { c.Cluster = cluster }) })
	}
	wg.Wait()
	if e.Failed() {
		return
	}
	nodes := slices.DeleteFunc(opened, func(n *node) bool { return n == nil })
	sets := addSets("set", nodes)
	for _, s := range sets {
		s.write([]byte("of " + s.node.Cluster))
	}
	alone := func() error {
		for i, n := range nodes {
			if err := agree(n); err != nil {
				return fmt.Errorf("cluster %q: %w", n.Cluster, err)
			}
			if err := holdAll(1, sets[i]); err != nil {
				return fmt.Errorf("cluster %q: %w", n.Cluster, err)
			}
		}
		return nil
	}
	// The budget is for three nodes, and the server takes all of these up at once.
	e.eventually(e.limit(converge)*time.Duration(len(nodes))/3+e.patience(), "each cluster has its one node, attached", alone)
	for _, s := range sets {
		s.write([]byte("again"))
	}
	e.always(e.intervals(5), "each cluster is for itself", func() error {
		for _, n := range nodes {
			if len(n.Members()) != 1 {
				return fmt.Errorf("cluster %q lists %s", n.Cluster, listing(n.Members()))
			}
		}
		return nil
	})
	for _, n := range nodes {
		if r := misled(n); r > 0 {
			e.Errorf("cluster %q was given %v frames that are not for it: is the cluster's name escaped, or hashed, where the transport uses it?", n.Cluster, r)
		}
	}
}

func namesListed(e *env) {
	nodes := e.openAll("a", "b", "c")
	if !nodes[0].tap.native() {
		return
	}
	e.eventually(e.limit(converge), "the transport lists each member once", func() error {
		for _, n := range nodes {
			list := n.tap.list()
			seen, at := map[string]bool{}, map[string]string{}
			for _, m := range list {
				if seen[m.Instance] {
					return fmt.Errorf("%s: Handler.Members was given %s twice", n, m.Instance)
				}
				if other, taken := at[m.Addr]; taken && m.Addr != "" {
					return fmt.Errorf("%s: Handler.Members was given %s and %s at one address, %s", n, other, m.Name, m.Addr)
				}
				seen[m.Instance], at[m.Addr] = true, m.Name
			}
			for _, m := range nodes {
				if !seen[m.self.Instance] {
					return fmt.Errorf("%s: Handler.Members was not given %s; the list has this node too", n, m)
				}
			}
		}
		return nil
	})
}

// list returns what the driver has listed last.
func (p *wiretap) list() []driver.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listed
}
