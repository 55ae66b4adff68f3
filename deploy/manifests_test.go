// Package deploy_test checks the files that deploy the application: it decodes
// them strictly, and looks up each reference.
package deploy_test

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// overlays are what an operator applies.
var overlays = []string{"deployment", "statefulset"}

// render does what kustomize build does.
func render(t *testing.T, overlay string) string {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "kubernetes/"+overlay)
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// manifests are the objects of one overlay.
type manifests struct {
	namespaces   []corev1.Namespace
	accounts     []corev1.ServiceAccount
	services     []corev1.Service
	configs      []corev1.ConfigMap
	budgets      []policyv1.PodDisruptionBudget
	policies     []networkingv1.NetworkPolicy
	deployments  []appsv1.Deployment
	statefulSets []appsv1.StatefulSet
}

// decode refuses a field that the API lacks, one that it misses, and an unexpected
// kind.
func decode(text string) (manifests, error) {
	var m manifests
	for _, document := range strings.Split(text, "\n---\n") {
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(document), &kind); err != nil {
			return m, err
		}
		var err error
		switch kind.APIVersion + " " + kind.Kind {
		case "v1 Namespace":
			m.namespaces, err = add(m.namespaces, document)
		case "v1 ServiceAccount":
			m.accounts, err = add(m.accounts, document)
		case "v1 Service":
			m.services, err = add(m.services, document)
		case "v1 ConfigMap":
			m.configs, err = add(m.configs, document)
		case "policy/v1 PodDisruptionBudget":
			m.budgets, err = add(m.budgets, document)
		case "networking.k8s.io/v1 NetworkPolicy":
			m.policies, err = add(m.policies, document)
		case "apps/v1 Deployment":
			m.deployments, err = add(m.deployments, document)
		case "apps/v1 StatefulSet":
			m.statefulSets, err = add(m.statefulSets, document)
		default:
			err = fmt.Errorf("is not expected")
		}
		if err != nil {
			return m, fmt.Errorf("%s %s: %w", kind.APIVersion, kind.Kind, err)
		}
		if err := conforms(document); err != nil {
			return m, err
		}
	}
	return m, nil
}

func add[T any](all []T, document string) ([]T, error) {
	var object T
	err := yaml.UnmarshalStrict([]byte(document), &object)
	return append(all, object), err
}

// workload is what a Deployment and a StatefulSet have in common.
type workload struct {
	metav1.ObjectMeta
	kind     string
	replicas *int32
	ready    int32
	selector *metav1.LabelSelector
	pod      corev1.PodTemplateSpec
	claims   []string // names of volumes
}

func (m manifests) workload() (workload, error) {
	switch {
	case len(m.deployments) == 1 && len(m.statefulSets) == 0:
		d := m.deployments[0]
		return workload{d.ObjectMeta, "Deployment", d.Spec.Replicas, d.Spec.MinReadySeconds, d.Spec.Selector, d.Spec.Template, nil}, nil
	case len(m.deployments) == 0 && len(m.statefulSets) == 1:
		s := m.statefulSets[0]
		w := workload{s.ObjectMeta, "StatefulSet", s.Spec.Replicas, s.Spec.MinReadySeconds, s.Spec.Selector, s.Spec.Template, nil}
		for _, claim := range s.Spec.VolumeClaimTemplates {
			w.claims = append(w.claims, claim.Name)
		}
		return w, nil
	}
	return workload{}, fmt.Errorf("%d Deployments and %d StatefulSets, want one of either", len(m.deployments), len(m.statefulSets))
}
