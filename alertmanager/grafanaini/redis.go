package grafanaini

import (
	"crypto/tls"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend"
)

// redisCluster is the cluster's name, for which Grafana has no key: there the
// prefix keeps clusters apart.
const redisCluster = "unified_alerting"

// redisConfig is the Config for the backend redis.
func redisConfig(r *reader) (backend.Config, error) {
	for _, check := range []func(*reader) error{checkServers, checkMode, checkCredentials, checkNames, checkTLS} {
		if err := check(r); err != nil {
			return backend.Config{}, err
		}
	}
	params := map[string]string{
		"address":   strings.Join(r.values["ha_redis_address"].items, ","),
		"mode":      r.redisMode(),
		"pool_size": strconv.Itoa(poolSize(r.values["ha_redis_max_conns"].count)),
	}
	for _, k := range keys {
		v := r.values[k.name]
		if k.group != broker || k.param == "name" || k.param == "mode" || params[k.param] != "" || !v.given() || v.text == "" {
			continue
		}
		params[k.param] = v.param()
	}
	return backend.Config{
		Backend: "redis", Cluster: redisCluster, Name: r.values["ha_redis_peer_name"].text, Params: params,
		Timing: backend.Timing{Sync: r.values["ha_push_pull_interval"].span},
	}, nil
}

// param is the value as a parameter of the backend.
func (v value) param() string {
	switch {
	case v.kind == boolean:
		return strconv.FormatBool(v.yes)
	case v.kind == integer:
		return strconv.Itoa(v.count)
	case v.kind == list:
		return strings.Join(v.items, ",")
	case v.name == "ha_redis_tls_min_version":
		return tlsVersions[v.text]
	}
	return v.text
}

// poolSize is the size that Grafana's client derives from n.
func poolSize(n int) int {
	if n == 0 {
		return 10 * runtime.GOMAXPROCS(0)
	}
	return n
}

func checkServers(r *reader) error { return checkHostPorts(r.values["ha_redis_address"], "6379") }

func (r *reader) redisMode() string {
	switch {
	case r.values["ha_redis_sentinel_master_name"].text != "":
		return "sentinel"
	case r.values["ha_redis_cluster_mode_enabled"].yes || len(r.values["ha_redis_address"].items) > 1:
		return "cluster"
	default:
		return "single"
	}
}

func checkMode(r *reader) error {
	cluster, sentinel := r.values["ha_redis_cluster_mode_enabled"], r.values["ha_redis_sentinel_mode_enabled"]
	master, db := r.values["ha_redis_sentinel_master_name"], r.values["ha_redis_db"]
	switch {
	case cluster.yes && sentinel.yes:
		return cluster.errorf("excludes ha_redis_sentinel_mode_enabled, which is true as well; leave one of the two")
	case cluster.yes && master.text != "":
		return cluster.errorf("excludes ha_redis_sentinel_master_name, which is set as well; leave one of the two")
	case sentinel.yes && master.text == "":
		return sentinel.errorf("needs ha_redis_sentinel_master_name, the name under which the Sentinels know the master")
	case r.redisMode() == "cluster" && db.count != 0:
		return db.errorf("cannot be used with a Redis Cluster, which has database 0 only; " +
			"a cluster is meant by ha_redis_cluster_mode_enabled, and by more than one address")
	}
	return nil
}

func checkCredentials(r *reader) error {
	for _, name := range []string{"ha_redis_sentinel_username", "ha_redis_sentinel_password"} {
		if v := r.values[name]; v.text != "" && r.redisMode() != "sentinel" {
			return v.errorf("is for a Sentinel; set ha_redis_sentinel_master_name too, or leave it out")
		}
	}
	if v := r.values["ha_redis_username"]; v.text != "" && r.values["ha_redis_password"].text == "" {
		return v.errorf("is a user without a password; set ha_redis_password too")
	}
	return nil
}

var nodeName = regexp.MustCompile(`^[A-Za-z0-9._:-]{0,128}$`)

func checkNames(r *reader) error {
	if v := r.values["ha_redis_peer_name"]; !nodeName.MatchString(v.text) {
		return v.errorf("is not a node's name: 1 to 128 letters, digits and \". _ - :\"")
	}
	if v := r.values["ha_redis_prefix"]; strings.ContainsAny(v.text, `*?[]\`) || strings.ContainsFunc(v.text, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return v.errorf(`holds a space or one of * ? [ ] \, which are wildcards in patterns; choose another`)
	}
	return nil
}

var tlsVersions = map[string]string{"VersionTLS10": "1.0", "VersionTLS11": "1.1", "VersionTLS12": "1.2", "VersionTLS13": "1.3"}

func checkTLS(r *reader) error {
	if !r.values["ha_redis_tls_enabled"].yes {
		return checkNoTLS(r)
	}
	cert, private := r.values["ha_redis_tls_cert_path"], r.values["ha_redis_tls_key_path"]
	switch {
	case cert.text != "" && private.text == "":
		return cert.errorf("needs ha_redis_tls_key_path; give both or neither")
	case cert.text == "" && private.text != "":
		return private.errorf("needs ha_redis_tls_cert_path; give both or neither")
	}
	if v := r.values["ha_redis_tls_min_version"]; v.text != "" && tlsVersions[v.text] == "" {
		return v.errorf("is none of %s", strings.Join(slices.Sorted(maps.Keys(tlsVersions)), ", "))
	}
	v := r.values["ha_redis_tls_cipher_suites"]
	for _, suite := range v.items {
		if !isSuite(suite) {
			return v.errorf("holds %q, which is not the name of one of Go's cipher suites", shorten(suite))
		}
	}
	return nil
}

// checkNoTLS refuses settings of TLS while TLS is off.
func checkNoTLS(r *reader) error {
	for _, k := range keys {
		v := r.values[k.name]
		if strings.HasPrefix(k.name, "ha_redis_tls_") && v.given() && v.text != "" && (v.kind != boolean || v.yes) {
			return v.errorf("has no effect, because ha_redis_tls_enabled is false and nothing is encrypted; set that to true, or leave this out")
		}
	}
	return nil
}

func isSuite(name string) bool {
	return slices.ContainsFunc(slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()), func(s *tls.CipherSuite) bool { return s.Name == name })
}
