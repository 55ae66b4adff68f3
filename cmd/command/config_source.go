package command

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/clusterchannel/clusterchannel/alertmanager/grafanaini"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

var sectionHead = regexp.MustCompile(`(?m)^[ \t]*\[[^\[\]]+\][ \t]*\r?$`)

// isINI reports whether a file is an ini file, not YAML: by its name, or else
// by its text.
func isINI(path, text string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".ini":
		return true
	case ".yml", ".yaml":
		return false
	}
	return sectionHead.MatchString(text)
}

// checkURL shows only the scheme of the URL: any other part may hold a secret.
func checkURL(scheme, raw string) (configReport, error) {
	report := configReport{Source: scheme + "://…", Format: "url"}
	config, err := backend.ParseURL(raw)
	if err != nil {
		return report, err
	}
	report.Backend = config.Backend
	report.Settings = settingsOf(config, origin{given: "URL"})
	if err := backend.Check(config); err != nil {
		return report, fmt.Errorf("URL: %w", err)
	}
	return report, nil
}

func checkYAML(path string) (configReport, error) {
	report := configReport{Source: path, Format: "yaml"}
	config, err := backend.LoadFile(path)
	if err != nil {
		return report, err
	}
	report.Backend = config.Backend
	report.Settings = settingsOf(config, origin{given: "file"})
	if err := backend.Check(config); err != nil {
		return report, fmt.Errorf("%s: %w", path, err)
	}
	return report, nil
}

func checkINI(path string) (configReport, error) {
	report := configReport{Source: path, Format: "ini"}
	settings, err := grafanaini.Load(path)
	if err != nil {
		return report, err
	}
	for _, i := range settings.Ignored {
		report.Ignored = append(report.Ignored, configIgnored(i))
	}
	report.Backend = settings.Config.Backend
	if report.Backend != "" {
		report.Settings = settingsOf(settings.Config, origin{given: "implied", values: implied(settings)})
		err = backend.Check(settings.Config)
	}
	for _, v := range settings.Values {
		if v.Param == "" {
			report.Settings = append(report.Settings, configSetting{v.Key, v.Text, place(v)})
		}
	}
	if err != nil {
		return report, fmt.Errorf("%s%w", culprit(path, settings.Values, err), err)
	}
	return report, nil
}

// implied adds, to the values of an ini file, the other keys that some of them
// set too.
func implied(s grafanaini.Settings) []grafanaini.Value {
	all := slices.Clone(s.Values)
	for _, v := range s.Values {
		switch {
		case v.Param == "address", v.Param == "peers":
			v.Param = "backend"
		case v.Param == "label":
			v.Param = "cluster"
		default:
			continue
		}
		all = append(all, v)
	}
	return all
}

// place says where a value of an ini file is from.
func place(v grafanaini.Value) string {
	if v.Older != "" {
		key := "[alerting] " + v.Older
		v.Older = ""
		return key + ", " + place(v)
	}
	switch {
	case v.Source == grafanaini.Default:
		return "default"
	case v.Source == grafanaini.Environment:
		return "environment: " + v.From
	case v.Line > 0:
		return fmt.Sprintf("file: line %d", v.Line)
	}
	return "file"
}

// culprit names the file's key that set the parameter at fault in err.
func culprit(path string, values []grafanaini.Value, err error) string {
	bad, ok := errors.AsType[*params.Error](err)
	for _, v := range values {
		if ok && v.Param == bad.Key && v.Source != grafanaini.Default {
			return fmt.Sprintf("%s: [unified_alerting] %s (%s): ", path, v.Key, place(v))
		}
	}
	return path + ": "
}
