package servers

import (
	"fmt"
	"slices"
	"testing"

	"github.com/clusterchannel/clusterchannel/conformance/servers/container"
)

// contained is a server in a container.
type contained struct {
	*container.Server
	place Place
}

// member is a server of a cluster in a container. The others are on mesh.
type member struct {
	contained
	mesh *container.Network
}

// Part implements parting.
func (m member) Part(t testing.TB) { t.Helper(); m.mesh.Disconnect(t, m.Server) }

// Heal implements parting.
func (m member) Heal(t testing.TB) { t.Helper(); m.mesh.Connect(t, m.Server, m.place.Name) }

// Exec expands args.
func (c contained) Exec(t testing.TB, args ...string) string {
	t.Helper()
	return c.Server.Exec(t, expandAll(c.place, args)...)
}

// containers makes sites for servers; several servers get two networks of their
// own. On one, which is closed to all else, they reach each other; on the other
// the test reaches them.
func containers(t testing.TB, k Kind, image string, count int) []site {
	t.Helper()
	var mesh, front *container.Network
	if count > 1 {
		mesh, front = container.NewNetwork(t, true), container.NewNetwork(t, false)
	}
	sites := make([]site, count)
	for i := range sites {
		p := Place{
			Host: "0.0.0.0", Port: k.Port, Dir: "/clusterchannel", Data: "/data",
			Name: fmt.Sprintf("%s-%d", k.Name, i), Peer: k.Peer,
		}
		spec := container.Spec{Image: image, Port: k.Port}
		if mesh != nil {
			spec.Networks = map[*container.Network][]string{mesh: {p.Name}, front: nil}
		}
		sites[i] = site{p, func(t testing.TB, k Kind, o Options) engine {
			t.Helper()
			c := startContained(t, k, p, spec, o)
			if mesh != nil {
				return member{c, mesh}
			}
			return c
		}}
	}
	return sites
}

// startContained runs the server of spec.
func startContained(t testing.TB, k Kind, p Place, spec container.Spec, o Options) contained {
	t.Helper()
	command := k.arguments(p, o)
	if k.Command != "" {
		command = slices.Insert(command, 0, k.Command)
	}
	spec.Files = map[string][]byte{}
	for name, content := range o.Files {
		spec.Files[p.Dir+"/"+name] = content
	}
	spec.Cmd, spec.Env, spec.Halt, spec.Ready = command, k.environment(p, o), k.Halt, k.Ready
	return contained{container.Start(t, spec), p}
}
