package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/grafanaini"
)

// doctorCmd walks from configuration to delivery and says where the way ends. It
// becomes no member, and may run beside the node that it is about.
type doctorCmd struct {
	Source    string        `arg:"" optional:"" name:"source" help:"A URL as redis://host:6379?cluster=alerts, a YAML file of this project, or Grafana's ini file, in place of the flags."`
	ConfigINI string        `name:"config.ini" placeholder:"FILE" help:"Grafana's ini file, in place of the flags."`
	JSON      bool          `name:"json" help:"Print JSON."`
	Timeout   time.Duration `name:"timeout" default:"5s" help:"How long one step may take."`
	Cluster   clusterFlags  `embed:"" prefix:"cluster."`
}

// errUnwell is why the command ends with 1 after its report.
var errUnwell = errors.New("something is wrong")

// Run prints the report. It ends with 0 where all is well, with 1 where a step
// failed, and with 2 where the configuration cannot be used.
func (c *doctorCmd) Run(ctx context.Context) error {
	if c.Timeout <= 0 {
		return usageError{fmt.Errorf("%w: --timeout: %v is not above 0", backend.ErrConfig, c.Timeout)}
	}
	d := &doctor{timeout: c.Timeout, logger: slog.New(slog.DiscardHandler)}
	config, enabled, err := c.config()
	switch {
	case err != nil:
		d.fail("configuration", "read it", err, "correct what is named")
	case !enabled:
		d.add(finding{Name: "configuration", Status: stepWarn, Tried: "read it", Got: "high availability is off: there is no cluster to look at",
			Mend: "give a source, or --cluster.backend with its parameters"})
	default:
		if config.Name == "" {
			config.Name, err = os.Hostname()
		}
		if err != nil {
			d.fail("configuration", "take the host's name", err, "give the node a name")
			break
		}
		d.examine(ctx, config)
	}
	report := d.report(config)
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

// config returns the configuration of the channel, and whether there is to be
// one.
func (c *doctorCmd) config() (backend.Config, bool, error) {
	source := c.Source
	switch {
	case source != "" && c.ConfigINI != "":
		return backend.Config{}, false, fmt.Errorf("%w: a source is given beside --config.ini; one of them is enough", backend.ErrConfig)
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

// doctor collects the steps of one examination.
type doctor struct {
	timeout time.Duration
	logger  *slog.Logger
	steps   []finding
}

// examine takes one step after the other, and stops where the next ones could
// say nothing new.
func (d *doctor) examine(ctx context.Context, config backend.Config) {
	if err := backend.Check(config); err != nil {
		d.fail("configuration", "decode it", err, "correct the key that is named; \"clusterchannel config check\" shows what is read")
		return
	}
	d.ok("configuration", "decode it", fmt.Sprintf("backend %s, cluster %q, node %q", config.Backend, config.Cluster, config.Name))
	examine := map[string]func(*doctor, context.Context, backend.Config){
		"memberlist": (*doctor).examineMemberlist,
		"redis":      (*doctor).examineRedis,
		"rediss":     (*doctor).examineRedis,
		"etcd":       (*doctor).examineEtcd,
		"nats":       (*doctor).examineNATS,
	}[config.Backend]
	if examine == nil {
		examine = (*doctor).examineOther
	}
	examine(d, ctx, config)
}

// examineOther is for a backend of which only the driver is known.
func (d *doctor) examineOther(ctx context.Context, config backend.Config) {
	open, _ := backend.Lookup(config.Backend)
	node, err := d.open(ctx, config, open)
	if err != nil {
		d.fail("attach", "open the backend", err, mend(err, "see the documentation of the backend"))
		return
	}
	defer node.close()
	d.ok("attach", "open the backend", "it is open")
	d.hear(ctx, node)
}

// limit returns a context for one step.
func (d *doctor) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d.timeout)
}

// options are what a driver is opened with. Its instance shows whose it is.
func (d *doctor) options(config backend.Config) driver.Options {
	return driver.Options{
		Cluster: config.Cluster, Params: config.Params, MaxBytes: 64 << 20, Logger: d.logger,
		Self: driver.Member{Name: config.Name, Instance: "doctor-" + nonce(), Meta: config.Meta},
	}
}
