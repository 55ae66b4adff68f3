package deploy_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/clusterchannel/clusterchannel/alertmanager/grafanaini"
	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/all"
)

// shutDown is how long the application may take to end, at most: for its requests,
// its database and its goodbye.
const shutDown = 30

func TestKubernetes(t *testing.T) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			if err := check(render(t, overlay)); err != nil {
				t.Error(err)
			}
		})
	}
}

// check checks all objects of an overlay.
func check(text string) error {
	m, err := decode(text)
	if err != nil {
		return err
	}
	w, err := m.workload()
	if err != nil {
		return err
	}
	return errors.Join(
		m.checkNames(w), m.checkServices(w), m.checkBudget(w), m.checkPolicy(w), m.checkIdentity(w),
		w.checkConfined(), w.checkProbes(), w.checkEnd(), m.checkMounts(w), m.checkCluster(w),
	)
}

// checkNames checks that all are in one namespace, which exists.
func (m manifests) checkNames(w workload) error {
	if len(m.namespaces) != 1 || m.namespaces[0].Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		return errors.New("there is no one namespace of restricted pods")
	}
	in := m.namespaces[0].Name
	all := []metav1.ObjectMeta{w.ObjectMeta}
	for _, o := range m.services {
		all = append(all, o.ObjectMeta)
	}
	for _, o := range m.configs {
		all = append(all, o.ObjectMeta)
	}
	for _, o := range m.accounts {
		all = append(all, o.ObjectMeta)
	}
	for _, o := range m.budgets {
		all = append(all, o.ObjectMeta)
	}
	for _, o := range m.policies {
		all = append(all, o.ObjectMeta)
	}
	for _, o := range all {
		if o.Namespace != in {
			return fmt.Errorf("%s is in namespace %q, want %q", o.Name, o.Namespace, in)
		}
	}
	return nil
}

// selects reports whether a selector selects the pods of w.
func (w workload) selects(selector *metav1.LabelSelector) error {
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return err
	}
	if s.Empty() || !s.Matches(labels.Set(w.pod.Labels)) {
		return fmt.Errorf("%q does not select the pods, which have %v", s, w.pod.Labels)
	}
	return nil
}

func (w workload) container() corev1.Container { return w.pod.Spec.Containers[0] }

// port is the container's port of that name or number, and protocol.
func (w workload) port(target intstr.IntOrString, protocol corev1.Protocol) (corev1.ContainerPort, error) {
	for _, p := range w.container().Ports {
		if p.Protocol == protocol && (p.Name == target.String() || fmt.Sprint(p.ContainerPort) == target.String()) {
			return p, nil
		}
	}
	return corev1.ContainerPort{}, fmt.Errorf("the pod has no port %s of %s", target.String(), protocol)
}

func (m manifests) checkServices(w workload) error {
	var errs []error
	for _, s := range m.services {
		if err := w.selects(metav1.SetAsLabelSelector(s.Spec.Selector)); err != nil {
			errs = append(errs, fmt.Errorf("service %s: %w", s.Name, err))
		}
		for _, p := range s.Spec.Ports {
			to, err := w.port(p.TargetPort, p.Protocol)
			if err == nil && s.Spec.ClusterIP == corev1.ClusterIPNone && p.Port != to.ContainerPort {
				err = fmt.Errorf("port %d is headless and leads to %d", p.Port, to.ContainerPort)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("service %s: %w", s.Name, err))
			}
		}
	}
	for _, s := range m.statefulSets {
		if _, err := m.headless(s.Spec.ServiceName); err != nil {
			errs = append(errs, fmt.Errorf("serviceName: %w", err))
		}
	}
	return errors.Join(errs...)
}

// headless returns the service of a name that resolves to the addresses of all
// pods.
func (m manifests) headless(name string) (corev1.Service, error) {
	i := slices.IndexFunc(m.services, func(s corev1.Service) bool { return s.Name == name })
	if i < 0 {
		return corev1.Service{}, fmt.Errorf("there is no service %s", name)
	}
	if s := m.services[i]; s.Spec.ClusterIP == corev1.ClusterIPNone && s.Spec.PublishNotReadyAddresses {
		return s, nil
	}
	return corev1.Service{}, fmt.Errorf("service %s is not headless, or hides pods that are not ready", name)
}

func (m manifests) checkBudget(w workload) error {
	if len(m.budgets) != 1 {
		return fmt.Errorf("%d PodDisruptionBudgets, want 1", len(m.budgets))
	}
	b := m.budgets[0].Spec
	if b.MaxUnavailable == nil || b.MaxUnavailable.IntValue() != 1 || b.MinAvailable != nil {
		return errors.New("the budget does not have pods evicted one by one")
	}
	return w.selects(b.Selector)
}

// checkPolicy checks that the API is open, and gossip is open to the pods
// alone.
func (m manifests) checkPolicy(w workload) error {
	if len(m.policies) != 1 {
		return fmt.Errorf("%d NetworkPolicies, want 1", len(m.policies))
	}
	p := m.policies[0].Spec
	if err := w.selects(&p.PodSelector); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	var open []string
	for _, rule := range p.Ingress {
		if len(rule.From) != 1 || (rule.From[0].PodSelector == nil) == (rule.From[0].NamespaceSelector == nil) {
			return errors.New("policy: a rule is not of one peer")
		}
		among := "all"
		if s := rule.From[0].PodSelector; s != nil {
			if err := w.selects(s); err != nil {
				return fmt.Errorf("policy: %w", err)
			}
			among = "pods"
		}
		for _, port := range rule.Ports {
			to, err := w.port(*port.Port, *port.Protocol)
			if err != nil {
				return fmt.Errorf("policy: %w", err)
			}
			open = append(open, among+" "+to.Name)
		}
	}
	if want := []string{"pods gossip-tcp", "pods gossip-udp", "all http"}; !slices.Equal(open, want) {
		return fmt.Errorf("policy: open are %q, want %q", open, want)
	}
	return nil
}

// checkIdentity checks that w selects its own pods, that there are enough, and
// that their account has no rights.
func (m manifests) checkIdentity(w workload) error {
	if err := w.selects(w.selector); err != nil {
		return fmt.Errorf("%s: %w", w.kind, err)
	}
	if w.replicas == nil || *w.replicas < 3 {
		return fmt.Errorf("%s: less than 3 replicas", w.kind)
	}
	if w.ready < 60 {
		return fmt.Errorf("%s: a new pod is trusted after %ds, before all alerts were posted to it", w.kind, w.ready)
	}
	pod := w.pod.Spec
	named := slices.ContainsFunc(m.accounts, func(a corev1.ServiceAccount) bool { return a.Name == pod.ServiceAccountName })
	if !named || pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		return fmt.Errorf("the account %q is not there, or its token is mounted", pod.ServiceAccountName)
	}
	for _, c := range pod.TopologySpreadConstraints {
		if err := w.selects(c.LabelSelector); err != nil {
			return fmt.Errorf("spread: %w", err)
		}
	}
	return nil
}

// checkConfined checks that the pod has what Kubernetes calls the restricted
// profile, and a read-only root file system.
func (w workload) checkConfined() error {
	yes := func(b *bool) bool { return b != nil && *b }
	no := func(b *bool) bool { return b != nil && !*b }
	pod := w.pod.Spec.SecurityContext
	if pod == nil || !yes(pod.RunAsNonRoot) || pod.RunAsUser == nil || *pod.RunAsUser == 0 || pod.FSGroup == nil ||
		pod.SeccompProfile == nil || pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		return errors.New("the pod's security context is not restricted")
	}
	if want := fmt.Sprintf("USER %d:%d", *pod.RunAsUser, *pod.RunAsGroup); !strings.Contains(dockerfile(), "\n"+want+"\n") {
		return fmt.Errorf("the image has another user than the pod: no %q", want)
	}
	c := w.container().SecurityContext
	if len(w.pod.Spec.Containers) != 1 || c == nil || !no(c.AllowPrivilegeEscalation) || !yes(c.ReadOnlyRootFilesystem) ||
		c.Capabilities == nil || !slices.Equal(c.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(c.Capabilities.Add) > 0 {
		return errors.New("the container's security context is not restricted")
	}
	if spec := w.pod.Spec; spec.HostNetwork || spec.HostPID || spec.HostIPC {
		return errors.New("the pod shares namespaces of its host")
	}
	return nil
}

func (w workload) checkProbes() error {
	c := w.container()
	for name, p := range map[string]struct {
		probe *corev1.Probe
		path  string
	}{
		"startup": {c.StartupProbe, "/-/healthy"}, "readiness": {c.ReadinessProbe, "/-/ready"}, "liveness": {c.LivenessProbe, "/-/healthy"},
	} {
		if p.probe == nil || p.probe.HTTPGet == nil || p.probe.HTTPGet.Path != p.path {
			return fmt.Errorf("%s probe: does not get %s", name, p.path)
		}
		if _, err := w.port(p.probe.HTTPGet.Port, corev1.ProtocolTCP); err != nil {
			return fmt.Errorf("%s probe: %w", name, err)
		}
	}
	return nil
}

// checkEnd checks that nothing cuts off the goodbye.
func (w workload) checkEnd() error {
	grace, life := w.pod.Spec.TerminationGracePeriodSeconds, w.container().Lifecycle
	if life == nil || life.PreStop == nil || life.PreStop.Sleep == nil {
		return errors.New("preStop does not sleep, and no program of the image could")
	}
	if pause := life.PreStop.Sleep.Seconds; pause < 1 || grace == nil || *grace < pause+shutDown {
		return fmt.Errorf("preStop of %ds and an end of up to %ds do not fit into the grace", pause, shutDown)
	}
	return nil
}

// checkMounts checks that mounted volumes exist, and that the arguments name
// files that do.
func (m manifests) checkMounts(w workload) error {
	volumes := slices.Clone(w.claims)
	files := map[string]bool{}
	var writable []string
	for _, v := range w.pod.Spec.Volumes {
		volumes = append(volumes, v.Name)
	}
	for _, mount := range w.container().VolumeMounts {
		if !slices.Contains(volumes, mount.Name) {
			return fmt.Errorf("there is no volume %s", mount.Name)
		}
		if !mount.ReadOnly {
			writable = append(writable, mount.MountPath)
		}
		config, err := m.config(w, mount.Name)
		if err != nil {
			return err
		}
		for name := range config {
			files[path.Join(mount.MountPath, name)] = true
		}
	}
	for flag, known := range map[string]func(string) bool{
		"--config.file": func(f string) bool { return files[f] }, "--config.ini": func(f string) bool { return files[f] },
		"--storage.path": func(d string) bool { return slices.Contains(writable, d) },
	} {
		if value := w.argument(flag); !known(value) {
			return fmt.Errorf("%s: %q is not mounted (%v, %v)", flag, value, slices.Collect(maps.Keys(files)), writable)
		}
	}
	return nil
}

// config returns the files of a volume that is a ConfigMap.
func (m manifests) config(w workload, volume string) (map[string]string, error) {
	for _, v := range w.pod.Spec.Volumes {
		if v.Name != volume || v.ConfigMap == nil {
			continue
		}
		for _, c := range m.configs {
			if c.Name == v.ConfigMap.Name {
				return c.Data, nil
			}
		}
		return nil, fmt.Errorf("there is no ConfigMap %s", v.ConfigMap.Name)
	}
	return nil, nil
}

func (w workload) argument(flag string) string {
	for _, arg := range w.container().Args {
		if value, ok := strings.CutPrefix(arg, flag+"="); ok {
			return value
		}
	}
	return ""
}

// checkCluster reads the ini file in the environment of a pod.
func (m manifests) checkCluster(w workload) error {
	config, err := m.config(w, "config")
	if err != nil {
		return err
	}
	params, err := w.settings("custom.ini", config["custom.ini"])
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(params["peers"])
	if err != nil {
		return err
	}
	service, err := m.headless(host)
	if err != nil {
		return fmt.Errorf("ha_peers: %w", err)
	}
	var open []string
	for _, p := range service.Spec.Ports {
		if fmt.Sprint(p.Port) == port {
			open = append(open, string(p.Protocol))
		}
	}
	if slices.Sort(open); !slices.Equal(open, []string{"TCP", "UDP"}) {
		return fmt.Errorf("ha_peers: port %s of %s is open to %q", port, host, open)
	}
	return atPod(params, port)
}

// podIP is the address of a pod.
const podIP = "10.1.2.3"

// settings returns the backend's parameters that the ini file sets in the
// environment of a pod.
func (w workload) settings(name, text string) (map[string]string, error) {
	var environ []string
	for _, e := range w.container().Env {
		if e.ValueFrom == nil || e.ValueFrom.FieldRef == nil || e.ValueFrom.FieldRef.FieldPath != "status.podIP" {
			return nil, fmt.Errorf("%s is not the pod's address", e.Name)
		}
		environ = append(environ, e.Name+"="+podIP)
	}
	settings, err := grafanaini.Sources{Environ: environ}.Parse(name, []byte(text))
	if err != nil {
		return nil, err
	}
	return settings.Config.Params, backend.Check(settings.Config)
}

// atPod checks that a node listens at the pod's address, and tells it to
// others.
func atPod(params map[string]string, port string) error {
	if want := podIP + ":" + port; params["listen_address"] != want || params["advertise_address"] != want {
		return fmt.Errorf("it listens on %s and tells %s, want %s", params["listen_address"], params["advertise_address"], want)
	}
	return nil
}
