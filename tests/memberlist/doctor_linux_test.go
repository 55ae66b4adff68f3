package interop_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// TestDoctorOnFirewalls examines a host whose packets to and from a peer are
// dropped each way, and one whose streams are.
func TestDoctorOnFirewalls(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rules  []string // at the peer, CUT is the address of the host that is examined
		step   string
		status driver.Status
		says   string
	}{
		"none":       {nil, "udp", driver.OK, "answered after"},
		"UDP to it":  {[]string{"-A INPUT -p udp -s CUT -j DROP"}, "udp", driver.Fail, "what is sent to it is lost"},
		"UDP back":   {[]string{"-A OUTPUT -p udp -d CUT -j DROP"}, "udp", driver.Fail, "does not arrive there"},
		"UDP, both":  {[]string{"-A INPUT -p udp -s CUT -j DROP", "-A OUTPUT -p udp -d CUT -j DROP"}, "udp", driver.Fail, "does not arrive there"},
		"TCP to it":  {[]string{"-A INPUT -p tcp --syn -s CUT -j DROP"}, "tcp", driver.Fail, "is lost: a firewall"},
		"TCP back":   {[]string{"-A OUTPUT -p tcp --syn -d CUT -j DROP"}, "tcp", driver.Fail, "let TCP through from"},
		"TCP denied": {[]string{"-A INPUT -p tcp --syn -s CUT -j REJECT --reject-with tcp-reset"}, "tcp", driver.Fail, "nothing listens"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t)
			a, b, examined := l.host(t), l.host(t), l.host(t)
			openAll(t, nil, a, b)
			for _, rule := range c.rules {
				b.filter(t, strings.ReplaceAll(rule, "CUT", examined.ip))
			}
			found := examined.call(t, request{Do: "examine", Name: "c", Params: map[string]string{
				"listen_address": examined.ip + ":9094", "peers": a.ip + ":9094," + b.ip + ":9094",
			}}).Found
			if !slices.ContainsFunc(found, func(f driver.Finding) bool {
				text := f.Tried + f.Got + f.Fix
				return f.Name == c.step && f.Status == c.status && strings.Contains(text, b.ip) && strings.Contains(text, c.says)
			}) {
				t.Errorf("no step %s is %s for %s and says %q: %+v", c.step, c.status, b.ip, c.says, found)
			}
			for _, f := range found {
				if f.Status == driver.Fail && !strings.Contains(f.Tried, b.ip) {
					t.Errorf("what is sound fails: %+v", f)
				}
			}
			if s := a.call(t, request{Do: "status"}); s.Members != "ab" {
				t.Errorf("the members are %q after the examination", s.Members)
			}
		})
	}
}
