package nats_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// permit is a configuration in which the user "node" has some permissions.
func permit(permissions string) string {
	return `authorization { users: [{user: node, password: pw, permissions: {` + permissions + `}}] }`
}

const (
	all         = `publish: "clusterchannel.>", subscribe: "clusterchannel.>"`
	noSubscribe = `publish: "clusterchannel.>", subscribe: "other.>"`
	noPublish   = `publish: "other.>", subscribe: "clusterchannel.>"`
)

// TestPermissionRefused: Open says what the user lacks.
func TestPermissionRefused(t *testing.T) {
	t.Parallel()
	for what, permissions := range map[string]string{
		"subscribe": noSubscribe, "publish": noPublish,
		"subscribe to its own": `publish: ` + cluster + `, subscribe: "clusterchannel.test"`,
		"publish to one":       `publish: "clusterchannel.test", subscribe: ` + cluster,
	} {
		s := startLocal(t, permit(permissions))
		_, err := tryOpen(t, "a", s.at("username", "node", "password", "pw"))
		if !errors.Is(err, backend.ErrConfig) {
			t.Errorf("no permission to %s: %v, want ErrConfig", what, err)
			continue
		}
		verb, _, _ := strings.Cut(what, " ")
		for _, text := range []string{"username", verb, `"clusterchannel.test"`, `"clusterchannel.test.*"`} {
			if !strings.Contains(strings.ToLower(err.Error()), text) {
				t.Errorf("no permission to %s: %v, want it to say %s", what, err, text)
			}
		}
	}
}

const cluster = `["clusterchannel.test", "clusterchannel.test.*"]`

// TestPermissionOfOneCluster is all that a node needs.
func TestPermissionOfOneCluster(t *testing.T) {
	t.Parallel()
	s := startLocal(t, permit(`publish: `+cluster+`, subscribe: `+cluster))
	params := s.at("username", "node", "password", "pw")
	a, b := open(t, "a", params), open(t, "b", params)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
	a.write(t, "x")
	testkit.Eventually(t, 20*time.Second, func() error { return hold(1, a, b) })
}

// TestPermissionRevoked: a node whose permission is taken away while it runs says
// so, and comes back when it is given again.
func TestPermissionRevoked(t *testing.T) {
	t.Parallel()
	for what, permissions := range map[string]string{"subscription": noSubscribe, "publish": noPublish} {
		t.Run(what, func(t *testing.T) {
			s := startLocal(t, permit(all))
			params := s.at("username", "node", "password", "pw")
			a, b := open(t, "a", params), open(t, "b", params)
			testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
			d, r := openDriver(t, params)
			s.reload(t, permit(permissions))
			testkit.Eventually(t, 20*time.Second, func() error {
				_ = d.Broadcast(t.Context(), []byte("x")) // what the server makes of it comes as an event
				return r.gaveUp(`to publish and to subscribe to "clusterchannel.test"`)
			})
			for _, n := range []*node{a, b} {
				testkit.Eventually(t, 20*time.Second, func() error { return detachedSaying(n, "needs to publish and to subscribe") })
				n.write(t, n.name)
			}
			s.reload(t, permit(all))
			testkit.Eventually(t, 20*time.Second, func() error { return errors.Join(agree(a, b), hold(2, a, b)) })
		})
	}
}

// TestUserRevoked: a user that is taken off the server is told, and heals when
// it is back.
func TestUserRevoked(t *testing.T) {
	t.Parallel()
	s := startLocal(t, permit(all))
	params := s.at("username", "node", "password", "pw")
	a, b := open(t, "a", params), open(t, "b", params)
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
	_, r := openDriver(t, params)
	s.reload(t, `authorization { users: [{user: other, password: pw}] }`)
	testkit.Eventually(t, 20*time.Second, func() error {
		return errors.Join(detachedSaying(a, "refuses the credentials"), detachedSaying(b, "refuses the credentials"))
	})
	testkit.Eventually(t, 20*time.Second, func() error { return r.gaveUp("refuses the credentials") })
	s.reload(t, permit(all))
	testkit.Eventually(t, 20*time.Second, func() error { return agree(a, b) })
}
