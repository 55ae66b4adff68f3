package deploy_test

import (
	"fmt"
	"path"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestSeedsManifests combines what Grafana's guide to Kubernetes shows: the
// service resolves to the pods' addresses, each pod knows its own, and the ini
// file names both.
func TestSeedsManifests(t *testing.T) {
	const dir = "setups/kubernetes/"
	m, err := decode(read(t, dir+"service.yaml") + "\n---\n" + read(t, dir+"deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	w, err := m.workload()
	if err != nil {
		t.Fatal(err)
	}
	service := m.services[0]
	if service.Spec.ClusterIP != corev1.ClusterIPNone || service.Namespace != w.Namespace || len(service.Spec.Ports) != 1 {
		t.Errorf("the service is not that of the pods' addresses: %+v", service)
	}
	for _, selector := range []*metav1.LabelSelector{w.selector, metav1.SetAsLabelSelector(service.Spec.Selector)} {
		if err := w.selects(selector); err != nil {
			t.Error(err)
		}
	}
	port := service.Spec.Ports[0].Port
	if _, err := w.port(intstr.FromInt32(port), corev1.ProtocolTCP); err != nil {
		t.Error(err)
	}
	params, err := w.settings("grafana.ini", read(t, dir+"grafana.ini"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%s.%s:%d", service.Name, service.Namespace, port); params["peers"] != want {
		t.Errorf("ha_peers is %q, want %q", params["peers"], want)
	}
	if err := atPod(params, fmt.Sprint(port)); err != nil {
		t.Error(err)
	}
	mount := w.container().VolumeMounts[0].MountPath
	for flag, file := range map[string]string{"--config.file": "setups/alertmanager.yml", "--config.ini": dir + "grafana.ini"} {
		read(t, file)
		if want := path.Join(mount, path.Base(file)); w.argument(flag) != want {
			t.Errorf("%s is %q, want %q", flag, w.argument(flag), want)
		}
	}
}
