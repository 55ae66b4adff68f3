package etcd_test

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	_ "github.com/clusterchannel/clusterchannel/backends/etcd"
	"github.com/clusterchannel/clusterchannel/conformance"
)

// inject puts frame where nodes of the cluster look for each other's.
func inject(t testing.TB, s conformance.Server, cluster string, frame []byte) {
	put(t, admin(t, s.Addr()), prefix+url.PathEscape(cluster)+"/frames/stranger", string(frame))
}

// foreign leaves keys around those of the cluster.
func foreign(t testing.TB, s conformance.Server, cluster string) func() error {
	client, escaped := admin(t, s.Addr()), url.PathEscape(cluster)
	keys := []string{
		prefix + escaped, prefix + escaped + "0/members/x", prefix + escaped + ".x/frames/x", prefix + escaped[:len(escaped)-1] + "/members/x",
		"/clusterchannel", "/clusterchannels/" + escaped + "/members/x", "clusterchannel/" + escaped + "/members/x",
	}
	for _, key := range keys {
		put(t, client, key, `{"name":"x","instance":"x"}`)
	}
	return func() error {
		for _, key := range keys {
			r, err := client.Get(within(t), key)
			if err != nil {
				return err
			}
			if len(r.Kvs) != 1 || r.Kvs[0].Version != 1 {
				return fmt.Errorf("%s is %v", key, r.Kvs)
			}
		}
		return nil
	}
}

// residue lists the cluster's keys, and all leases: they do not show whose they
// are, and the check runs alone.
func residue(t testing.TB, s conformance.Server, cluster string) []string {
	client := admin(t, s.Addr())
	left := keysBelow(t, client, prefix+url.PathEscape(cluster)+"/")
	for _, lease := range leases(t, client) {
		left = append(left, fmt.Sprintf("lease %x", lease.ID))
	}
	return left
}

func TestConformance(t *testing.T) {
	conformance.Run(t, harness(0, func(t testing.TB) conformance.Server { return start(t) }))
}

// TestConformanceOnThreeServers puts each node at the next member of a cluster,
// and the strangers too.
func TestConformanceOnThreeServers(t *testing.T) {
	// All members write what a check sends, on one disk.
	conformance.Run(t, harness(2, func(t testing.TB) conformance.Server { return startCluster(t) }))
}

func harness(parallel int, start func(testing.TB) conformance.Server) conformance.Harness {
	return conformance.Harness{
		Backend:  "etcd",
		Server:   start,
		Parallel: parallel,
		Params: func(_ testing.TB, n conformance.Node) map[string]string {
			return map[string]string{"endpoints": n.Server}
		},
		// An etcd that restarts elects itself first, for up to two seconds.
		Timing:  conformance.Timing{Channel: backend.Timing{Grace: 4 * time.Second}},
		Bad:     badParams,
		Inject:  inject,
		Foreign: foreign,
		Residue: residue,
	}
}

var badParams = map[string]map[string]string{
	"endpoints":                    {"endpoints": "unix:///run/etcd"},
	"endpoints without a list":     {"endpoints": ""},
	"endpoints without a port":     {"endpoints": "localhost:etcd"},
	"endpoints of TLS without tls": {"endpoints": "https://localhost:2379"},
	"endpoint":                     {"endpoint": "localhost:2379"},
	"path":                         {"path": "0"},
	"username":                     {"password": conformance.Secret},
	"password":                     {"username": "root"},
	"prefix":                       {"prefix": "/a\nb"},
	"lease_ttl":                    {"lease_ttl": "2"},
	"lease_ttl of a fraction":      {"lease_ttl": "2500ms"},
	"lease_ttl of zero":            {"lease_ttl": "0s"},
	"max_frame":                    {"max_frame": "1KiB"},
	"max_frame that is no size":    {"max_frame": "much"},
	"dial_timeout":                 {"dial_timeout": "1ms"},
	"tls":                          {"tls": "maybe"},
	"tls_ca_file without tls":      {"tls_ca_file": "/etc/ssl/certs/ca-certificates.crt"},
	"tls_ca_file":                  {"tls": "true", "tls_ca_file": "/does/not/exist"},
	"tls_cert_file":                {"tls": "true", "tls_key_file": "/does/not/exist"},
	"tls_key_file":                 {"tls": "true", "tls_cert_file": "/does/not/exist"},
	"tls_server_name":              {"tls_server_name": "etcd"},
	"tls_min_version":              {"tls": "true", "tls_min_version": "1.0"},
	"tls_skip_verify":              {"tls_skip_verify": "true"},
}
