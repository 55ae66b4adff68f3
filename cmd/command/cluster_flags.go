package command

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// clusterPrefix begins the names of all flags of clusterFlags.
const clusterPrefix = "cluster."

// clusterFlags say which cluster to join.
type clusterFlags struct {
	Config        string            `name:"config" help:"YAML file with the cluster's configuration; replaces all other cluster flags."`
	Backend       string            `name:"backend" default:"${backend}" help:"Key of the backend."`
	Param         map[string]string `name:"param" mapsep:"none" placeholder:"KEY=VALUE" help:"Parameter of the backend; repeatable."`
	Name          string            `name:"name" help:"Name of the cluster."`
	PeerName      string            `name:"peer-name" help:"Name of this node; default: the host's."`
	SettleTimeout time.Duration     `name:"settle-timeout" default:"1m" help:"How long to wait at most for the other nodes' state."`

	Backends kong.Plugins `embed:""` // the flags of the backends: a backendFlags each
}

// newClusterFlags returns clusterFlags with the flags of all registered backends.
func newClusterFlags() clusterFlags {
	var f clusterFlags
	for _, b := range allBackendFlags() {
		f.Backends = append(f.Backends, b.plugin.Interface())
	}
	return f
}

// conflict returns an error about a given flag that would be ignored: a cluster
// flag beside a file that replaces them all, which instead names, or a flag of
// another backend.
func (f *clusterFlags) conflict(k *kong.Context, instead string) error {
	if instead == "" && f.Config != "" {
		instead = "--cluster.config"
	}
	for _, p := range k.Path {
		if p.Flag == nil || !strings.HasPrefix(p.Flag.Name, clusterPrefix) {
			continue
		}
		name := "--" + p.Flag.Name
		owner := flagOwner(strings.TrimPrefix(p.Flag.Name, clusterPrefix))
		switch {
		case name == instead, name == "--cluster.peer-timeout" && instead == "--cluster.config":
		case instead != "":
			return fmt.Errorf("%s is given beside %s, which sets everything about the cluster: set it there, or leave it out", name, instead)
		case owner != "" && owner != f.Backend:
			return fmt.Errorf("%s is for the backend %s, and --cluster.backend is %s: leave it out, or give a --cluster.param", name, owner, f.Backend)
		}
	}
	return nil
}

// config returns the configuration of the node, and whether there is a cluster.
func (f *clusterFlags) config() (backend.Config, bool, error) {
	if f.Config != "" {
		c, err := backend.LoadFile(f.Config)
		return c, err == nil, err
	}
	own := f.own()
	c := backend.Config{
		Backend: f.Backend, Cluster: f.Name, Name: f.PeerName, Params: own.params(),
		Timing: backend.Timing{Settle: f.settle()},
	}
	for key, value := range c.Params {
		c.Params[key] = plainAddresses(value)
	}
	if strings.HasPrefix(c.Params["advertise_address"], ":") {
		delete(c.Params, "advertise_address") // a port alone, to which Alertmanager gives no meaning either
	}
	for i, flag := range own.flags {
		value := own.text(i)
		if flag.Switch && value == "" {
			return c, false, nil
		}
		if flag.Cluster && c.Cluster == "" {
			c.Cluster = value
		}
	}
	maps.Copy(c.Params, f.Param)
	return c, true, nil
}

// settleLimit is how long notifications wait at most for the state of others,
// who may not be there: an Alertmanager that sees nobody join waits as long.
const settleLimit = 10 * time.Second

// settle is the limit that the flags set. Alertmanager's flag is a limit too,
// for a wait that ends after 10 s unless members come and go; with 0 there is
// no wait.
func (f *clusterFlags) settle() time.Duration {
	return max(time.Millisecond, min(f.SettleTimeout, settleLimit))
}

// plainAddresses removes the brackets around IPv4 addresses in a list: the
// Prometheus Operator and charts put them around every address.
func plainAddresses(list string) string {
	all := strings.Split(list, ",")
	for i, address := range all {
		host, port, err := net.SplitHostPort(address)
		if err == nil && strings.HasPrefix(address, "[") && !strings.Contains(host, ":") {
			all[i] = net.JoinHostPort(host, port)
		}
	}
	return strings.Join(all, ",")
}

// own returns the flags of the backend that is selected.
func (f *clusterFlags) own() backendFlags {
	for i, b := range allBackendFlags() {
		if b.backend == f.Backend {
			return b.with(f.Backends[i])
		}
	}
	return backendFlags{}
}

// blame adds, to an error about a parameter that a flag has set, the name of
// that flag.
func (f *clusterFlags) blame(err error) error {
	bad, ok := errors.AsType[*params.Error](err)
	if !ok || f.Config != "" {
		return err
	}
	flag := ""
	for _, own := range f.own().flags {
		if own.Param == bad.Key {
			flag = own.Name
		}
	}
	if _, given := f.Param[bad.Key]; given {
		flag = "param " + bad.Key
	}
	if bad.Key == "cluster" {
		flag = "name"
	}
	if flag == "" {
		return err
	}
	return fmt.Errorf("%w: %s: --%s%s: %w", backend.ErrConfig, f.Backend, clusterPrefix, flag, bad.Err)
}
