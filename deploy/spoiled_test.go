package deploy_test

import (
	"strings"
	"testing"
)

// TestSpoiledManifests shows that each check can fail.
func TestSpoiledManifests(t *testing.T) {
	sound := render(t, "statefulset")
	for name, c := range map[string]struct{ old, spoiled, want string }{
		"unknown field":         {"\n  podManagementPolicy:", "\n  podManagmentPolicy:", "podManagmentPolicy"},
		"missing service":       {"  serviceName: clusterchannel-gossip\n", "", "serviceName"},
		"missing port":          {"        - containerPort: 9093\n          name: http\n", "        - name: http\n", "containerPort"},
		"missing selector":      {"  podSelector:\n    matchLabels:\n      app.kubernetes.io/name: clusterchannel\n  policyTypes:", "  policyTypes:", "podSelector"},
		"number as text":        {"replicas: 3", "replicas: \"3\"", "replicas"},
		"unknown kind":          {"kind: NetworkPolicy", "kind: NetworkPolice", "not expected"},
		"namespace":             {"name: clusterchannel-gossip\n  namespace: clusterchannel", "name: clusterchannel-gossip\n  namespace: default", "namespace"},
		"labels of the pods":    {"    metadata:\n      labels:\n        app.kubernetes.io/name: clusterchannel", "    metadata:\n      labels:\n        app.kubernetes.io/name: other", "does not select"},
		"port's name":           {"targetPort: gossip-udp", "targetPort: gossip", "no port gossip"},
		"port's protocol":       {"name: gossip-udp\n          protocol: UDP", "name: gossip-udp\n          protocol: TCP", "of UDP"},
		"hidden pods":           {"publishNotReadyAddresses: true", "publishNotReadyAddresses: false", "hides"},
		"address of a service":  {"clusterIP: None", "clusterIP: 10.0.0.1", "headless"},
		"budget":                {"maxUnavailable: 1", "maxUnavailable: 2", "one by one"},
		"policy of UDP":         {"    - port: 9094\n      protocol: UDP\n", "", "gossip-udp"},
		"one replica":           {"replicas: 3", "replicas: 1", "replicas"},
		"hasty":                 {"minReadySeconds: 75", "minReadySeconds: 5", "trusted"},
		"token":                 {"      automountServiceAccountToken: false", "      automountServiceAccountToken: true", "token"},
		"root":                  {"runAsNonRoot: true", "runAsNonRoot: false", "not restricted"},
		"another user":          {"runAsUser: 65532", "runAsUser: 1000", "another user"},
		"writable root":         {"readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "not restricted"},
		"readiness":             {"path: /-/ready", "path: /-/healthy", "readiness"},
		"grace":                 {"terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 30", "grace"},
		"no preStop":            {"          preStop:\n            sleep:\n              seconds: 5\n", "          postStart:\n            sleep:\n              seconds: 5\n", "preStop"},
		"volume":                {"        - mountPath: /data\n          name: data", "        - mountPath: /data\n          name: date", "no volume date"},
		"file":                  {"--config.ini=/etc/clusterchannel/custom.ini", "--config.ini=/etc/clusterchannel/grafana.ini", "--config.ini"},
		"variable":              {"name: POD_IP", "name: POD_ADDRESS", "POD_IP"},
		"name of the service":   {"ha_peers = \"clusterchannel-gossip:9094\"", "ha_peers = \"clusterchannel:9094\"", "headless"},
		"port of gossip":        {"ha_peers = \"clusterchannel-gossip:9094\"", "ha_peers = \"clusterchannel-gossip:9095\"", "9095"},
		"a key of the ini file": {"ha_peer_timeout", "ha_peer_timeot", "ha_peer_timeot"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(sound, c.old, c.spoiled, 1)
			if text == sound {
				t.Fatalf("the manifests do not have %q", c.old)
			}
			if err := check(text); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it says %v, want %q", err, c.want)
			}
		})
	}
}
