package servers

import "testing"

// parting is an engine that can separate its server from the others of a
// cluster.
type parting interface {
	Part(t testing.TB)
	Heal(t testing.TB)
}

// Parts reports whether Part can be used: members in containers can be taken
// off their own network, but processes of one machine cannot.
func (c *Cluster) Parts() bool {
	_, can := c.members[0].engine.(parting)
	return can
}

// Part separates a member from the others, as when its cable to them is pulled;
// its clients still reach it.
func (c *Cluster) Part(t testing.TB, member int) {
	t.Helper()
	c.parting(t, member).Part(t)
}

// Heal connects a member again that Part has separated.
func (c *Cluster) Heal(t testing.TB, member int) {
	t.Helper()
	c.parting(t, member).Heal(t)
}

func (c *Cluster) parting(t testing.TB, member int) parting {
	t.Helper()
	p, can := c.members[member].engine.(parting)
	if !can {
		t.Fatal("servers: processes of one machine cannot be parted: ask Parts before")
	}
	return p
}
