package interop_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	child "github.com/clusterchannel/clusterchannel/conformance/servers/process"
	"github.com/clusterchannel/clusterchannel/conformance/testkit"
)

// A lan is a network of hosts, each a network namespace of its own with one
// address of 198.18.0.0/15, and a process of this test's program in each. A
// host's packets are filtered by iptables: what is cut is cut for UDP or TCP, one
// way or both, as by real firewalls.
type lan struct {
	bridge *exec.Cmd // holds the namespace that the hosts are connected in
	enter  []string  // a program in the namespace of a process
	hosts  int
}

const (
	hostVariable = "CLUSTERCHANNEL_TEST_HOST" // set where this program is a host's process
	subnet       = "198.18.77."
)

// newLAN makes a network without hosts, where this user may. The network goes with
// the test.
func newLAN(t *testing.T) *lan {
	t.Helper()
	l := &lan{enter: []string{"nsenter", "-n"}}
	namespaces := []string{"unshare", "-n"}
	if os.Geteuid() != 0 {
		namespaces = append(namespaces, "-U", "-r")
		l.enter = append(l.enter, "-U", "--preserve-credentials")
	}
	l.bridge = exec.Command(namespaces[0], append(namespaces[1:], "sh", "-c",
		"PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && ip link add lan type bridge && ip link set lan up && iptables -S >/dev/null && echo made && exec sleep 1000")...)
	l.bridge.SysProcAttr = child.EndWithParent()
	var said strings.Builder
	l.bridge.Stderr = &said
	out, err := l.bridge.StdoutPipe()
	if err == nil {
		err = l.bridge.Start()
	}
	if err == nil {
		t.Cleanup(func() { end(l.bridge) })
		var line string
		if line, err = bufio.NewReader(out).ReadString('\n'); line != "made\n" {
			end(l.bridge)
			err = fmt.Errorf("%w: %s", err, said.String())
		}
	}
	if err != nil {
		const needed = "unshare, nsenter, ip and iptables, and namespaces that this user may make"
		if os.Getenv("CLUSTERCHANNEL_SERVERS") == "required" {
			t.Fatalf("a network of this test's own needs %s: %v", needed, err)
		}
		t.Skipf("a network of this test's own needs %s: %v", needed, err)
	}
	return l
}

func end(c *exec.Cmd) {
	_ = c.Process.Kill() // it may have ended
	_ = c.Wait()
}

// in runs a shell's line in the namespace of a process.
func (l *lan) in(t *testing.T, c *exec.Cmd, line string) {
	t.Helper()
	args := append(l.enter[1:len(l.enter):len(l.enter)], "-t", fmt.Sprint(c.Process.Pid), "sh", "-e", "-c", "PATH=$PATH:/usr/sbin:/sbin; "+line)
	if out, err := exec.Command(l.enter[0], args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// host starts a host and its process.
func (l *lan) host(t *testing.T) *host {
	t.Helper()
	l.hosts++
	h := &host{lan: l, id: l.hosts, ip: fmt.Sprint(subnet, l.hosts)}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(l.enter[1:len(l.enter):len(l.enter)], "-t", fmt.Sprint(l.bridge.Process.Pid), "unshare", "-n", program)
	h.cmd = exec.Command(l.enter[0], args...)
	h.cmd.Env = append(os.Environ(), hostVariable+"=1")
	h.cmd.SysProcAttr = child.EndWithParent()
	h.cmd.Stderr = &h.log
	in, err := h.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end(h.cmd)
		if strings.Contains(h.log.String(), "DATA RACE") {
			t.Errorf("host %s has a data race", h.ip)
		}
		if t.Failed() {
			t.Logf("host %s:\n%s", h.ip, h.log.Tail(100))
		}
	})
	h.to, h.from = json.NewEncoder(in), json.NewDecoder(out)
	h.call(t, request{}) // it runs, in its namespace
	l.in(t, l.bridge, fmt.Sprintf("ip link add h%d type veth peer name eth0 netns %d; ip link set h%[1]d master lan up", h.id, h.cmd.Process.Pid))
	l.in(t, h.cmd, fmt.Sprintf("ip link set lo up; ip addr add %s/24 dev eth0; ip link set eth0 up", h.ip))
	// Until the switch forwards, which may take it a second, what is sent is lost.
	l.in(t, l.bridge, fmt.Sprintf("until ip -d link show h%d | grep -q 'state forwarding'; do sleep 0.01; done", h.id))
	return h
}

// host is one of the network's.
type host struct {
	lan  *lan
	id   int
	ip   string
	cmd  *exec.Cmd
	log  testkit.Log
	mu   sync.Mutex
	to   *json.Encoder
	from *json.Decoder
}

// call has the host's process do something.
func (h *host) call(t *testing.T, r request) reply {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	var got reply
	err := h.to.Encode(r)
	if err == nil {
		err = h.from.Decode(&got)
	}
	if err != nil {
		t.Fatalf("host %s: %s: %v\n%s", h.ip, r.Do, err, h.log.Tail(40))
	}
	if got.Err != "" {
		t.Fatalf("host %s: %s: %s", h.ip, r.Do, got.Err)
	}
	return got
}

// filter adds rules of iptables, one a line.
func (h *host) filter(t *testing.T, rules ...string) {
	t.Helper()
	h.lan.in(t, h.cmd, "iptables -w "+strings.Join(rules, "; iptables -w "))
}

// unfilter removes all rules.
func (h *host) unfilter(t *testing.T) { t.Helper(); h.filter(t, "-F") }

// move gives the host another address.
func (h *host) move(t *testing.T, ip string) {
	t.Helper()
	h.lan.in(t, h.cmd, fmt.Sprintf("ip addr del %s/24 dev eth0; ip addr add %s/24 dev eth0", h.ip, ip))
	h.ip = ip
}

// open opens a node on each host, each with all as peers, and waits until they agree.
func openAll(t *testing.T, params map[string]string, hosts ...*host) {
	t.Helper()
	peers := make([]string, len(hosts))
	for i, h := range hosts {
		peers[i] = h.ip + ":9094"
	}
	for _, h := range hosts {
		all := map[string]string{"listen_address": h.ip + ":9094", "peers": strings.Join(peers, ",")}
		for k, v := range params {
			all[k] = v
		}
		h.call(t, request{Do: "open", Name: h.name(), Params: all})
	}
	agreed(t, hosts...)
}

// name is a letter, in the order in which the hosts were made.
func (h *host) name() string { return string(rune('a' + h.id - 1)) }

// agreed waits until all hosts list all of them.
func agreed(t *testing.T, hosts ...*host) {
	t.Helper()
	want := ""
	for _, h := range hosts {
		want += h.name()
	}
	testkit.Eventually(t, 30*time.Second, func() error {
		for _, h := range hosts {
			if s := h.call(t, request{Do: "status"}); s.Members != want || s.Status != "attached" {
				return fmt.Errorf("%s lists %q and is %s, want %q", h.name(), s.Members, s.Status, want)
			}
		}
		return nil
	})
}
