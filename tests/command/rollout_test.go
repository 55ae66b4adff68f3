package command_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// pod is what the manifests for Kubernetes say about each pod.
type pod struct {
	args    []string
	service string // of which all are an alias
	ini     string
	preStop time.Duration // how long it runs on once nothing more is posted to it
	sees    time.Duration // how long the kubelet waits for an answer of its readiness probe
}

// runs is what a manifest says of its container.
type runs struct {
	Args           []string
	ReadinessProbe struct {
		TimeoutSeconds int `yaml:"timeoutSeconds"`
	} `yaml:"readinessProbe"`
	Lifecycle struct {
		PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
	}
}

func runsOf(t *testing.T, name string) runs {
	t.Helper()
	var manifest struct {
		Spec struct {
			Template struct {
				Spec struct{ Containers []runs }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(deployed(t, name)), &manifest); err != nil {
		t.Fatal(err)
	}
	return manifest.Spec.Template.Spec.Containers[0]
}

// argsOf returns the arguments of a manifest's container.
func argsOf(t *testing.T, name string) []string { t.Helper(); return runsOf(t, name).Args }

func podOf(t *testing.T) pod {
	t.Helper()
	var gossip struct{ Metadata struct{ Name string } }
	if err := yaml.Unmarshal([]byte(deployed(t, "kubernetes/base/gossip.yaml")), &gossip); err != nil {
		t.Fatal(err)
	}
	c := runsOf(t, "kubernetes/pod/pod.yaml")
	preStop, sees := time.Duration(c.Lifecycle.PreStop.Sleep.Seconds)*time.Second, time.Duration(c.ReadinessProbe.TimeoutSeconds)*time.Second
	if preStop == 0 || sees == 0 {
		t.Fatal("the pod has no preStop, or its readiness no limit")
	}
	return pod{c.Args, gossip.Metadata.Name, deployed(t, "kubernetes/base/custom.ini"), preStop, sees}
}

// rollout is pods that come and go while alerts are posted.
type rollout struct {
	*place
	pod
	stream *stream
	nodes  []*host // that live, in the order of their names
}

func newRollout(t *testing.T, names ...string) *rollout {
	t.Helper()
	if testing.Short() {
		t.Skip("in short mode nothing is rolled out")
	}
	r := &rollout{place: newPlace(t), pod: podOf(t)}
	r.sink.delay = 200 * time.Millisecond // as a receiver on the network has
	// More than a pod takes to be replaced. A node that waits for a turn which began
	// before is not told that another took it while that one still sends.
	r.turn = 10 * time.Second
	for _, name := range names {
		r.nodes = append(r.nodes, r.run(t, name, nil))
	}
	r.whole(t, "started")
	r.stream = startStream(t, r.nodes)
	return r
}

// run starts a pod at an address that no pod has had, with the state of an
// earlier one.
func (r *rollout) run(t *testing.T, name string, state map[string]string) *host {
	t.Helper()
	addr := r.fresh()
	files := map[string]string{configDir + "/custom.ini": r.ini}
	maps.Copy(files, state)
	h := r.start(t, node{
		name: name, addr: addr, aliases: []string{r.service}, args: r.args, files: files, env: map[string]string{"POD_IP": addr.String()},
	})
	await(t, name+" is ready", h.ready)
	return h
}

// whole waits until the pods that live are one cluster.
func (r *rollout) whole(t *testing.T, when string) {
	t.Helper()
	slices.SortFunc(r.nodes, func(a, b *host) int { return strings.Compare(a.name, b.name) })
	(&hosts{mesh: r.mesh, nodes: r.nodes}).whole(t, when)
}

// admit lets alerts be posted to a pod, once it is ready.
func (r *rollout) admit(nodes ...*host) {
	r.nodes = append(r.nodes, nodes...)
	r.stream.post(r.nodes)
}

// end stops pods, all at once: nothing more is posted to them, and after preStop they
// are told to end.
func (r *rollout) end(t *testing.T, nodes ...*host) {
	t.Helper()
	r.nodes = slices.DeleteFunc(r.nodes, func(h *host) bool { return slices.Contains(nodes, h) })
	r.stream.post(r.nodes)
	<-time.After(r.preStop)
	var ending sync.WaitGroup
	for _, h := range nodes {
		ending.Go(func() { h.Stop(t) })
	}
	ending.Wait()
}

// TestRolloutOfDeployment replaces pods that keep nothing, as a Deployment does:
// a new one is ready before an old one ends.
func TestRolloutOfDeployment(t *testing.T) {
	t.Parallel()
	r := newRollout(t, "d", "h", "p")
	old := slices.Clone(r.nodes)
	for i, name := range []string{"a", "k", "z"} { // before, among and behind the others
		r.stream.flows(t)
		r.admit(r.run(t, name, nil))
		r.stream.flows(t) // all alerts are posted to it
		r.whole(t, name+" has come")
		r.end(t, old[i])
		r.whole(t, old[i].name+" has gone")
	}
	r.stream.flows(t)
	old = slices.Clone(r.nodes)
	var fresh []*host
	for _, name := range []string{"b", "c", "y"} {
		fresh = append(fresh, r.run(t, name, nil))
	}
	r.admit(fresh...)
	r.stream.flows(t)
	r.end(t, old...)
	r.whole(t, "all are replaced at once")
	r.deliversAllOnce(t)
}

// TestRolloutOfStatefulSet replaces pods that keep their name: the old one ends before
// the new one starts. One by one they need no volume that outlives them, which the
// Prometheus Operator gives them only if it is told to; all at once they do.
func TestRolloutOfStatefulSet(t *testing.T) {
	t.Parallel()
	r := newRollout(t, "node-0", "node-1", "node-2")
	for _, h := range slices.Backward(slices.Clone(r.nodes)) {
		r.stream.flows(t)
		r.end(t, h)
		r.whole(t, h.name+" has gone")
		var volume map[string]string
		if h.name == "node-1" {
			volume = kept(t, h)
		}
		r.admit(r.run(t, h.name, volume))
		r.whole(t, h.name+" is back at another address")
	}
	r.stream.flows(t)
	old := slices.Clone(r.nodes)
	r.end(t, old...)
	var fresh []*host
	for _, h := range old {
		fresh = append(fresh, r.run(t, h.name, kept(t, h)))
	}
	r.admit(fresh...)
	r.whole(t, "all are back at once")
	r.deliversAllOnce(t)
}

// TestReadinessThatFails has the pod that sends first stand still: its readiness probe
// fails, so nothing more is posted to it, and then its liveness probe has it restarted.
// The others send meanwhile.
func TestReadinessThatFails(t *testing.T) {
	t.Parallel()
	r := newRollout(t, "node-0", "node-1", "node-2")
	r.stream.flows(t)
	stands, others := r.nodes[0], slices.Clone(r.nodes[1:])
	stands.Pause(t)
	kubelet := &http.Client{Timeout: r.sees, Transport: &http.Transport{DisableKeepAlives: true}}
	if _, err := answer(kubelet.Get("http://" + stands.Addr() + "/-/ready")); err == nil {
		t.Fatal("a pod that stands still is ready")
	}
	r.nodes = others
	r.stream.post(others)
	r.whole(t, "the others have dropped it")
	r.stream.flows(t)
	stands.Kill(t)
	r.stream.flows(t)
	r.admit(r.run(t, stands.name, nil)) // it was killed, and its volume has what it had saved
	r.whole(t, "it is back")
	r.stream.flows(t)
	r.deliversAll(t)
}

// TestPolicyThatBlocksUDP: a network policy that names only TCP costs no member and no
// alert, also while a pod is replaced; the pods say what is blocked.
func TestPolicyThatBlocksUDP(t *testing.T) {
	t.Parallel()
	r := newRollout(t, "node-0", "node-1", "node-2")
	allow := blockUDP(t, r.mesh.Prefix())
	r.stream.flows(t)
	says := func(when string, blocked bool) {
		t.Helper()
		for _, h := range r.nodes {
			await(t, h.name+" says "+when, func() error {
				body, err := h.get("/status.json")
				if err == nil && strings.Contains(string(body), "UDP is blocked") != blocked {
					err = fmt.Errorf("it says %s", body)
				}
				return err
			})
		}
	}
	says("that UDP is blocked", true)
	r.whole(t, "UDP is blocked")
	r.stream.flows(t)
	last := r.nodes[2]
	r.end(t, last)
	r.whole(t, last.name+" has gone")
	r.admit(r.run(t, last.name, kept(t, last)))
	r.whole(t, last.name+" is back")
	r.stream.flows(t)
	allow()
	says("that it is not", false)
	r.deliversAllOnce(t)
}

// blockUDP drops what hosts of a network on this machine send each other by UDP to the
// port of gossip, until it is called.
func blockUDP(t *testing.T, network netip.Prefix) (allow func()) {
	t.Helper()
	table := fmt.Sprintf("clusterchannel_%d_%d", os.Getpid(), networks.Add(1))
	rules := fmt.Sprintf(`table bridge %s {
	chain gossip {
		type filter hook forward priority 0;
		ip saddr %s udp dport 9094 drop
	}
}
`, table, network)
	nft := func(script string) error {
		command := exec.Command("sudo", "-n", "nft", "-f", "-")
		if os.Geteuid() == 0 {
			command = exec.Command("nft", "-f", "-")
		}
		command.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		command.Stdin = strings.NewReader(script)
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := nft(rules); err != nil {
		t.Skipf("no network policy can be set here; it takes nft, and a user who may use it: %v", err)
	}
	allow = sync.OnceFunc(func() {
		if err := nft("delete table bridge " + table + "\n"); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(allow)
	return allow
}

// TestServiceThatResolvesLate starts pods before their service has a name, as the
// record of a headless service appears after its pods: none of them takes itself for
// the only one meanwhile.
func TestServiceThatResolvesLate(t *testing.T) {
	t.Parallel()
	p, files := newPlace(t), podOf(t)
	start := func(name string, aliases ...string) *host {
		addr := p.fresh()
		return p.start(t, node{
			name: name, addr: addr, aliases: aliases, args: files.args, env: map[string]string{"POD_IP": addr.String()},
			files: map[string]string{configDir + "/custom.ini": files.ini},
		})
	}
	const early = 7 * time.Second // before the driver's own limit
	began := time.Now()
	nodes := []*host{start("node-0"), start("node-1")}
	nodes = append(nodes, start("node-2", files.service)) // from now on the name resolves
	f := hosts{mesh: p.mesh, nodes: nodes}
	f.whole(t, "the name resolves")
	for _, h := range nodes[:2] {
		log := h.Logs()
		if !strings.Contains(log, "the name of a configured peer has no address") {
			t.Logf("%s: the name resolved before it was looked up", h.name)
		}
		if time.Since(began) < early && strings.Contains(log, "how=alone") {
			t.Errorf("%s took itself for the only one:\n%s", h.name, log)
		}
	}
	p.deliversOnce(t, nodes...)
}

// deliversAll ends the stream, and checks that each of its alerts was sent, and that
// at each moment there was a pod that would.
func (r *rollout) deliversAll(t *testing.T) {
	t.Helper()
	r.stream.flows(t)
	r.stream.stop()
	posted := r.stream.alerts()
	await(t, "all alerts are sent", func() error {
		sent := r.sink.sent()
		for _, name := range posted {
			if !slices.Contains(sent, name) {
				return fmt.Errorf("%s was never sent (%d of %d were)", name, len(sent), len(posted))
			}
		}
		return nil
	})
	t.Logf("%d alerts were posted, all were sent", len(posted))
	if err := r.stream.unsent; err != nil {
		t.Errorf("there was a moment without a sender: %v", err)
	}
}

// deliversAllOnce is deliversAll, and checks that none was sent twice and that nobody
// counts as failed.
func (r *rollout) deliversAllOnce(t *testing.T) {
	t.Helper()
	r.deliversAll(t)
	<-time.After(time.Duration(len(r.nodes)) * r.turn)
	times := map[string]int{}
	for _, name := range r.sink.sent() {
		times[name]++
	}
	for name, n := range times {
		if n > 1 {
			t.Errorf("%s was sent %d times: %s", name, n, r.sink.story(name))
		}
	}
	for _, h := range r.nodes {
		metrics, err := h.get("/metrics")
		if failed := value(string(metrics), "clusterchannel_members_failed_total"); err != nil || failed != "0" {
			t.Errorf("%s has not seen that members left: %q failed, %v", h.name, failed, err)
		}
	}
}

// stream posts a new alert five times a second to all pods that live, and all that
// it has posted every second, as what evaluates rules does while they fire.
type stream struct {
	mu     sync.Mutex // held while it posts
	nodes  []*host
	names  []string
	round  int   // how often all were posted
	last   error // of the last post
	unsent error // why nobody would have sent, in the last round in which that was so

	quit chan struct{}
	done sync.WaitGroup
	once sync.Once
}

func startStream(t *testing.T, nodes []*host) *stream {
	t.Helper()
	s := &stream{nodes: slices.Clone(nodes), quit: make(chan struct{})}
	s.done.Go(s.run)
	t.Cleanup(s.stop)
	return s
}

func (s *stream) stop() {
	s.once.Do(func() { close(s.quit) })
	s.done.Wait()
}

func (s *stream) run() {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-s.quit:
			return
		case <-tick.C:
			s.step(n%5 == 0)
		}
	}
}

func (s *stream) step(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, fmt.Sprintf("alert-%04d", len(s.names)))
	now := s.names[len(s.names)-1:]
	if all {
		now = s.names
		s.round++
	}
	var alerts []map[string]any
	for _, name := range now {
		alerts = append(alerts, map[string]any{"labels": map[string]string{"alertname": name}})
	}
	body, err := json.Marshal(alerts)
	for _, h := range s.nodes {
		if err == nil {
			_, err = answer(api.Post("http://"+h.Addr()+"/api/v2/alerts", "application/json", strings.NewReader(string(body))))
		}
	}
	s.last = err
	s.unsent = cmp.Or(s.unsent, sender(s.nodes))
}

// sender returns an error if no node would send when its turn comes: one that settles,
// or is cut off, waits.
func sender(nodes []*host) error {
	var all []error
	for _, h := range nodes {
		var status struct {
			Node struct{ Status, Ready string }
		}
		body, err := h.get("/status.json")
		if err == nil {
			err = json.Unmarshal(body, &status)
		}
		if n := status.Node; err == nil && n.Status == "attached" && n.Ready != "settling" {
			return nil
		}
		all = append(all, cmp.Or(err, fmt.Errorf("%s is %s, and %s", h.name, status.Node.Status, status.Node.Ready)))
	}
	return errors.Join(all...)
}

// post makes the stream go to these pods alone from now on.
func (s *stream) post(nodes []*host) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = slices.Clone(nodes)
}

func (s *stream) alerts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}

// flows waits until all that was posted so far has been posted to all once more.
func (s *stream) flows(t *testing.T) {
	t.Helper()
	round := -1
	await(t, "alerts are posted", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if round < 0 {
			round = s.round
		}
		if s.round < round+2 || s.last != nil {
			return fmt.Errorf("round %d of %d: %v", s.round, round+2, s.last)
		}
		return nil
	})
}
