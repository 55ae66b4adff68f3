package command

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/clusterchannel/clusterchannel/alertmanager/grafanaini"
	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// origin says where the values of a Config are from.
type origin struct {
	given  string             // those that are given
	values []grafanaini.Value // and of these, in more detail
}

// of returns where the value of key is from: the keys of an ini file, each with
// its place.
func (o origin) of(key string, given bool) string {
	var from []string
	for _, v := range o.values {
		if v.Param == key && (v.Source != grafanaini.Default || key != "mode") {
			from = append(from, v.Key+", "+place(v))
		}
	}
	switch {
	case len(from) > 0:
		return strings.Join(from, "; ")
	case given:
		return o.given
	}
	return "default"
}

func (o origin) isSecret(key string) bool {
	return slices.ContainsFunc(o.values, func(v grafanaini.Value) bool { return v.Param == key && v.Secret })
}

// settingsOf lists everything that c says or leaves to its default.
func settingsOf(c backend.Config, from origin) []configSetting {
	var all []configSetting
	given := givenKeys(c)
	for _, k := range backend.Keys() {
		value := given[k.Name]
		shown := cmp.Or(value, k.Default)
		if k.Name == "name" && value == "" {
			shown = "(the host's name)"
		}
		all = append(all, configSetting{k.Name, shown, from.of(k.Name, value != "")})
	}
	for _, k := range slices.Sorted(maps.Keys(c.Meta)) {
		all = append(all, configSetting{"meta." + k, c.Meta[k], from.given})
	}
	return append(all, paramSettings(c, from)...)
}

// givenKeys returns the keys of backend.Keys that c sets, with their values as
// text.
func givenKeys(c backend.Config) map[string]string {
	given := map[string]string{
		"backend": c.Backend, "cluster": c.Cluster, "name": c.Name,
		"on_isolation": string(c.OnIsolation), "on_start_failure": string(c.OnStartFailure),
	}
	for key, d := range map[string]time.Duration{
		"heartbeat": c.Timing.Heartbeat, "grace": c.Timing.Grace, "settle": c.Timing.Settle, "sync": c.Timing.Sync,
	} {
		if d != 0 {
			given[key] = d.String()
		}
	}
	for key, n := range map[string]int{"max_payload": c.MaxPayload, "queue_bytes": c.QueueBytes} {
		if n != 0 {
			given[key] = params.Bytes(n).String()
		}
	}
	if c.QueueItems != 0 {
		given["queue_items"] = strconv.Itoa(c.QueueItems)
	}
	return given
}

// paramSettings lists the backend's parameters: the known ones in their order,
// then those that its check will refuse, whose values may be secrets.
func paramSettings(c backend.Config, from origin) []configSetting {
	b, _ := backend.Lookup(c.Backend)
	rest := params.Redact(c.Params, b.Params)
	var all []configSetting
	for _, k := range paramKeys(b) {
		value, given := rest[k.Name]
		delete(rest, k.Name)
		if alias, ok := rest[k.Alias]; ok && k.Alias != "" {
			value, given = alias, true
			delete(rest, k.Alias)
		}
		if !given {
			value = k.Default
		}
		if value != "" && from.isSecret(k.Name) {
			value = params.Redacted
		}
		all = append(all, configSetting{k.Name, value, from.of(k.Name, given)})
	}
	for _, key := range slices.Sorted(maps.Keys(rest)) {
		all = append(all, configSetting{key, rest[key], from.of(key, true)})
	}
	return all
}

// paramKeys returns the keys of a backend's parameters; none if it does not
// describe them.
func paramKeys(b driver.Backend) []params.Key {
	if b.Params == nil {
		return nil
	}
	return params.Keys(b.Params)
}

// print shows the report to people.
func (r configReport) print(w io.Writer) error {
	if r.Backend == "" {
		fmt.Fprintf(w, "%s selects no backend: high availability is off.\n\n", r.Source)
	} else {
		fmt.Fprintf(w, "%s selects %s.\n\n", r.Source, r.Backend)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tVALUE\tFROM")
	for _, s := range r.Settings {
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Key, cmp.Or(printable(s.Value), "-"), s.From)
	}
	if len(r.Ignored) > 0 {
		fmt.Fprintln(table, "\nIGNORED\tLINE\tWHY")
	}
	for _, i := range r.Ignored {
		line := "-"
		if i.Line > 0 {
			line = strconv.Itoa(i.Line)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", printable(i.Key), line, i.Why)
	}
	return table.Flush()
}

// printable keeps a value on its line of the table.
func printable(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}
