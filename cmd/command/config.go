package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/clusterchannel/clusterchannel/backend"
)

// configCmd groups the commands that need only a configuration.
type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Print what a configuration selects, from where, and what it ignores."`
}

// configCheckCmd checks a configuration without opening anything.
type configCheckCmd struct {
	Source string `arg:"" name:"source" help:"Grafana's ini file, a YAML file of this project, or a URL as ${backend}://host:9094?cluster=alerts."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// configReport is the command's output. No field holds a secret.
type configReport struct {
	Source   string          `json:"source"`
	Format   string          `json:"format"`  // ini, yaml or url
	Backend  string          `json:"backend"` // empty: none, or not known
	Settings []configSetting `json:"settings"`
	Ignored  []configIgnored `json:"ignored"`
	Error    string          `json:"error,omitempty"`
}

// configSetting is one value that has an effect.
type configSetting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	From  string `json:"from"`
}

// configIgnored is one key that has none.
type configIgnored struct {
	Key  string `json:"key"`
	Line int    `json:"line,omitempty"`
	Why  string `json:"why"`
}

// Run prints the report. A configuration that cannot be used is an error.
func (c *configCheckCmd) Run() error {
	report, err := c.check()
	if err == nil && !c.JSON {
		return report.print(os.Stdout)
	}
	if !c.JSON {
		return err
	}
	if err != nil {
		report.Error = err.Error()
	}
	// A program that reads the report finds lists, even if they are empty.
	report.Settings = append([]configSetting{}, report.Settings...)
	report.Ignored = append([]configIgnored{}, report.Ignored...)
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return errors.Join(err, encoder.Encode(report))
}

// check reads the source in its format, and lets the backend check its part.
func (c *configCheckCmd) check() (configReport, error) {
	if scheme, _, ok := strings.Cut(c.Source, "://"); ok {
		return checkURL(scheme, c.Source)
	}
	text, err := os.ReadFile(c.Source)
	if err != nil {
		return configReport{Source: c.Source}, fmt.Errorf("%w: %w", backend.ErrConfig, err)
	}
	if isINI(c.Source, string(text)) {
		return checkINI(c.Source)
	}
	return checkYAML(c.Source)
}
