package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/clusterchannel/clusterchannel/alertmanager/grafanaini"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
	"github.com/clusterchannel/clusterchannel/persist"
)

// doctorCmd goes step by step from configuration to delivery and reports where
// it fails. It does not become a member, and may run beside the node that it
// examines.
type doctorCmd struct {
	Source    string        `arg:"" optional:"" name:"source" help:"A URL as ${backend}://host:9094?cluster=alerts, a YAML file of this project, or Grafana's ini file; replaces the flags."`
	ConfigINI string        `name:"config.ini" placeholder:"FILE" help:"Grafana's ini file; replaces the flags."`
	JSON      bool          `name:"json" help:"Print JSON."`
	Timeout   time.Duration `name:"timeout" default:"5s" help:"How long one step may take."`

	StoragePath string   `name:"storage.path" placeholder:"DIR" help:"Also examine this directory of snapshots."`
	Database    string   `name:"storage.database" env:"CLUSTERCHANNEL_STORAGE_DATABASE" placeholder:"DSN" help:"Also examine this database."`
	Listen      []string `name:"web.listen-address" sep:"none" placeholder:"ADDRESS" help:"Also examine whether the API can listen there; repeatable."`

	Cluster clusterFlags `embed:"" prefix:"cluster."`
}

// errUnwell is why the command ends with 1 after its report.
var errUnwell = errors.New("something is wrong")

// Run prints the report. It exits with 0 if all is well, with 1 if a step
// failed, and with 2 if the configuration cannot be used.
func (c *doctorCmd) Run(ctx context.Context) error {
	if c.Timeout <= 0 {
		return usageError{fmt.Errorf("%w: --timeout: %v is not above 0", backend.ErrConfig, c.Timeout)}
	}
	report := newReport(c.examine(ctx))
	var err error
	if c.JSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(report)
	} else {
		err = report.print(os.Stdout)
	}
	switch failed := report.failed(); {
	case err != nil:
		return err
	case failed == "configuration":
		return usageError{fmt.Errorf("%w: %s", errUnwell, failed)}
	case failed != "":
		return fmt.Errorf("%w: %s", errUnwell, failed)
	}
	return nil
}

// AfterApply refuses flags that would be ignored.
func (c *doctorCmd) AfterApply(k *kong.Context) error {
	instead := ""
	switch {
	case c.Source != "":
		instead = "a source"
	case c.ConfigINI != "":
		instead = "--config.ini"
	}
	return c.Cluster.conflict(k, instead)
}

// config returns the configuration of the node, and whether there is a cluster.
func (c *doctorCmd) config() (backend.Config, bool, error) {
	source := c.Source
	switch {
	case source != "" && c.ConfigINI != "":
		return backend.Config{}, false, fmt.Errorf("%w: a source is given beside --config.ini; give only one of them", backend.ErrConfig)
	case strings.Contains(source, "://"):
		config, err := backend.ParseURL(source)
		return config, err == nil, err
	case source == "" && c.ConfigINI == "":
		return c.Cluster.config()
	case source == "":
		return configOfINI(c.ConfigINI)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return backend.Config{}, false, fmt.Errorf("%w: %w", backend.ErrConfig, err)
	}
	if isINI(source, string(text)) {
		return configOfINI(source)
	}
	config, err := backend.LoadFile(source)
	return config, err == nil, err
}

func configOfINI(path string) (backend.Config, bool, error) {
	s, err := grafanaini.Load(path)
	return s.Config, err == nil && s.Config.Backend != "", err
}

// examineHost examines what a node needs besides the cluster.
func (c *doctorCmd) examineHost(ctx context.Context, e driver.Examination) {
	if c.StoragePath != "" {
		doctor.Directory(e, "storage path", c.StoragePath, true)
	}
	if c.Database != "" {
		persist.Examine(ctx, c.Database, e)
	}
	for _, addr := range c.Listen {
		examineListen(ctx, e, addr)
	}
}

// examineListen listens where the API would. The node itself may do so already.
func examineListen(ctx context.Context, e driver.Examination, addr string) {
	const name = "web address"
	tried := "listen on " + addr
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err == nil {
		e.OK(name, tried, "it is free")
		_ = l.Close() // that it could be made is what counts
		return
	}
	_, port, _ := net.SplitHostPort(addr)
	if !errors.Is(err, syscall.EADDRINUSE) {
		e.Fail(name, tried, err, "give an address of this host, with a port that this user may listen on: \"ip address\" lists them")
		return
	}
	if speaksHTTP(ctx, e.Timeout, addr) {
		e.OK(name, tried, "it is taken by what answers /-/healthy, most likely the node itself")
		return
	}
	e.Fail(name, tried, err, fmt.Sprintf("another program has the port: \"ss -ltnp 'sport = :%s'\" names it; stop it, or choose another port", port))
}

// speaksHTTP reports whether a node seems to be at addr: its answer may ask for
// credentials, or for TLS.
func speaksHTTP(ctx context.Context, timeout time.Duration, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	flags := webFlags{ListenAddress: []string{addr}, ExternalURL: "http://localhost"}
	node, err := flags.node("")
	if err != nil {
		return false
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, node.url, nil)
	if err != nil {
		return false
	}
	response, err := node.client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close() // the status says all
	node.client.CloseIdleConnections()
	return slices.Contains([]int{http.StatusOK, http.StatusUnauthorized, http.StatusBadRequest}, response.StatusCode)
}

// examine runs one step after the other, and stops when the next ones could
// find nothing new.
func (c *doctorCmd) examine(ctx context.Context) (config backend.Config, steps []driver.Finding) {
	e := driver.Examination{Timeout: c.Timeout, Report: func(f driver.Finding) { steps = append(steps, f) }}
	c.examineHost(ctx, e)
	const name = "configuration"
	config, enabled, err := c.config()
	switch {
	case err != nil:
		e.Fail(name, "read it", err, "correct what the error names")
		return config, steps
	case !enabled:
		e.Warn(name, "read it", "high availability is off: there is no cluster to examine", "give a source, or --cluster.backend with its parameters")
		return config, steps
	}
	if config.Name == "" {
		if config.Name, err = os.Hostname(); err != nil {
			e.Fail(name, "take the host's name", err, "give the node a name")
			return config, steps
		}
	}
	b, _ := backend.Lookup(config.Backend)
	if err := backend.Check(config); err != nil {
		if c.Source == "" && c.ConfigINI == "" {
			err = c.Cluster.blame(err)
		}
		e.Fail(name, "decode it", errors.New(params.RedactText(err.Error(), config.Params, b.Params)),
			"correct the key that is named; config check shows what is read")
		return config, steps
	}
	e.OK(name, "decode it", fmt.Sprintf("backend %s, cluster %q, node %q", config.Backend, config.Cluster, config.Name))
	e.Options = driver.Options{Cluster: config.Cluster, Params: config.Params, Self: driver.Member{Name: config.Name, Meta: config.Meta}}
	doctor.Run(ctx, b, e)
	return config, steps
}
