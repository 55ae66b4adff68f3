package backend

import (
	"fmt"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// The names of environment variables.
const (
	envPrefix = "CLUSTERCHANNEL_"
	envParam  = envPrefix + "PARAM_"
	envMeta   = envPrefix + "META_"
)

// FromEnv reads a Config from an environment, such as os.Environ():
//
//	CLUSTERCHANNEL_BACKEND=memberlist
//	CLUSTERCHANNEL_CLUSTER=alerts
//	CLUSTERCHANNEL_HEARTBEAT=500ms
//	CLUSTERCHANNEL_META_ZONE=eu
//	CLUSTERCHANNEL_PARAM_PEERS=a:9094,b:9094
//
// Behind the prefix stands one of [Keys] in upper case; or META_ and a key of
// Meta, or PARAM_ and a parameter of the backend, each in upper case for a key in
// lower case. One of Keys that is empty counts as not set; a parameter that is
// empty is given. The variables that Kubernetes sets for a service named
// clusterchannel, and those of this project's own test tools, are ignored. Any other variable with the prefix is an error that
// wraps ErrConfig and lists the known ones. Errors never show the value of a
// parameter.
func FromEnv(environ []string) (Config, error) {
	var s settings
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix) || ofKubernetes(name) || ofTests(name) {
			continue
		}
		if err := s.addEnv(name, value); err != nil {
			return Config{}, fmt.Errorf("%s: %w", name, err)
		}
	}
	return s.config()
}

func (s *settings) addEnv(name, value string) error {
	if key, ok := strings.CutPrefix(name, envParam); ok && key != "" {
		return putOnce(&s.params, strings.ToLower(key), value)
	}
	if key, ok := strings.CutPrefix(name, envMeta); ok && key != "" {
		return putOnce(&s.meta, strings.ToLower(key), value)
	}
	if key := strings.ToLower(strings.TrimPrefix(name, envPrefix)); isFixed(key) && envName(key) == name {
		if value == "" {
			return nil
		}
		return putOnce(&s.fixed, key, value)
	}
	known := []string{envMeta + "*", envParam + "*"}
	for _, k := range Keys() {
		known = append(known, envName(k.Name))
	}
	slices.Sort(known)
	meant := ""
	if near := params.Closest(name, known); near != "" {
		meant = fmt.Sprintf(", did you mean %s?", near)
	}
	return fmt.Errorf("%w: is not a known variable%s (known: %s)", ErrConfig, meant, strings.Join(known, ", "))
}

func envName(key string) string { return envPrefix + strings.ToUpper(key) }

// ofTests reports whether the suite, its servers or nemesis read a variable of this
// name.
func ofTests(name string) bool {
	rest := strings.TrimPrefix(name, envPrefix)
	return rest == "SERVERS" || strings.HasPrefix(rest, "IMAGE_") || strings.HasPrefix(rest, "NEMESIS_")
}

// ofKubernetes reports whether Kubernetes sets a variable of this name for a
// service named clusterchannel.
func ofKubernetes(name string) bool {
	rest := strings.TrimPrefix(name, envPrefix)
	for _, prefix := range []string{"SERVICE_HOST", "SERVICE_PORT", "PORT_"} {
		if strings.HasPrefix(rest, prefix) {
			return true
		}
	}
	return rest == "PORT"
}
