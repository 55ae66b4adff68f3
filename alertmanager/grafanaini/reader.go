package grafanaini

import (
	"strconv"
	"time"
)

// reader puts the layers together.
type reader struct {
	doc     *document
	sources Sources
	environ map[string]string
	values  map[string]value // of all keys, once they are read
	whole   map[string]value // what merged has found
}

// baseInterval is the unit of Grafana's scheduler.
const baseInterval = 10 * time.Second

// settings reads everything.
func (r *reader) settings() (Settings, error) {
	foreign, err := r.checkPlaces()
	if err != nil {
		return Settings{}, err
	}
	if err := r.readAll(); err != nil {
		return Settings{}, err
	}
	s := Settings{
		Enabled:                  r.values["enabled"].yes,
		NotificationLogRetention: r.values["notification_log_retention"].span,
		PeerTimeout:              r.values["ha_peer_timeout"].span,
		PushPullInterval:         r.values["ha_push_pull_interval"].span,
		SingleNodeEvaluation:     r.values["ha_single_node_evaluation"].yes,
		MaxSilences:              r.values["alertmanager_max_silences_count"].count,
		MaxSilenceSize:           r.values["alertmanager_max_silence_size_bytes"].count,
	}
	if v := r.values["min_interval"]; v.span%baseInterval != 0 {
		return Settings{}, v.errorf("is not a multiple of %v", baseInterval)
	}
	if s.ExecuteAlerts, err = r.executeAlerts(); err != nil {
		return Settings{}, err
	}
	if s.EvaluationTimeout, err = r.seconds("evaluation_timeout", 1, "evaluation_timeout_seconds"); err != nil {
		return Settings{}, err
	}
	if s.MinInterval, err = r.seconds("min_interval", baseInterval/time.Second, "min_interval_seconds"); err != nil {
		return Settings{}, err
	}
	chosen := r.selected(s.Enabled)
	if s.Config, err = chosen.config(r); err != nil {
		return Settings{}, err
	}
	if v := r.values["ha_single_node_evaluation"]; s.Enabled && v.yes && s.Config.Backend == "" {
		return Settings{}, v.errorf("needs high availability; set ha_peers or ha_redis_address, or leave it out")
	}
	s.Values, s.Ignored = r.sort(chosen)
	s.Ignored = append(s.Ignored, foreign...)
	return s, nil
}

// readAll fills values.
func (r *reader) readAll() error {
	for _, k := range keys {
		v, _, err := r.merged(k.name, nil)
		if err != nil {
			return err
		}
		if err := v.decode(); err != nil {
			return err
		}
		r.values[k.name] = v
	}
	return nil
}

// merged returns the value of a key of the section, ours or not, from the last
// layer that has it. behind are the keys that refer to it.
func (r *reader) merged(name string, behind []string) (value, bool, error) {
	if v, ok := r.whole[name]; ok { // else keys that refer to each other cost exponential time
		return v, true, nil
	}
	known, isOurs := find(name)
	known.name = name
	v := value{key: known, written: known.def, source: Default}
	if e, ok := r.doc.get(section, name); ok {
		v.written, v.source, v.from, v.line = e.text, File, r.doc.name, e.line
	} else if e, ok := r.outer(name); ok && len(behind) > 0 && !isOurs {
		v.written, v.source, v.from, v.line = e.text, File, r.doc.name, e.line
	}
	if text := r.environ[variable(name)]; text != "" && (isOurs || v.given()) {
		v.written, v.source, v.from, v.line = text, Environment, variable(name), 0
	}
	if !v.given() {
		v.text = v.written
		return v, isOurs, nil
	}
	text, err := r.expand(v.written)
	if err != nil {
		return v, true, v.wrap(err)
	}
	v.text = text
	full, err := r.interpolate(v, behind)
	switch {
	case err == nil:
		r.whole[name] = full
		return full, true, nil
	case len(behind) > 0: // the key that refers to it wraps the error
		return v, true, err
	}
	return v, true, v.wrap(err)
}

// older is the section that Grafana's former alerting had. Grafana still reads some of
// its keys, where those of the section have their defaults.
const older = "alerting"

// olderKeys are those of it that are read here.
var olderKeys = []string{"execute_alerts", "evaluation_timeout_seconds", "min_interval_seconds"}

// executeAlerts reads the older section too.
func (r *reader) executeAlerts() (bool, error) {
	const name = "execute_alerts"
	v := r.values[name]
	before, err := r.fromOlder(name)
	if err != nil || before.text == "" {
		return v.yes, err
	}
	yes, err := parseBool(before.text)
	if err != nil {
		return false, before.errorf("%w", err)
	}
	if v.yes && !yes {
		r.values[name] = v.decidedBy(before, before.text)
	}
	return v.yes && yes, nil
}

// seconds returns the value of a key, or that of one in the older section if the former
// is its default. The latter is a number of seconds, below unit or a multiple of it.
func (r *reader) seconds(key string, unit time.Duration, name string) (time.Duration, error) {
	v := r.values[key]
	before, err := r.fromOlder(name)
	if err != nil || before.text == "" {
		return v.span, err
	}
	count, err := strconv.ParseInt(before.text, 10, 32)
	if 0 < count && count < int64(unit) {
		count = int64(unit)
	}
	if err != nil || count < 1 || count%int64(unit) != 0 {
		return 0, before.errorf("is no multiple of %d, in seconds", unit)
	}
	span := time.Duration(count) * time.Second
	if usual, err := time.ParseDuration(v.def); err != nil || v.span != usual || span == usual {
		return v.span, err
	}
	r.values[key] = v.decidedBy(before, span.String())
	return span, nil
}

// fromOlder returns the value of a key in the older section; without a text, if it is
// not given.
func (r *reader) fromOlder(name string) (value, error) {
	v := value{key: key{name: name}, section: older}
	if e, ok := r.doc.get(older, name); ok {
		v.written, v.source, v.from, v.line = e.text, File, r.doc.name, e.line
	}
	if text := r.environ[variableOf(older, name)]; text != "" {
		v.written, v.source, v.from, v.line = text, Environment, variableOf(older, name), 0
	}
	text, err := r.expand(v.written)
	if err != nil {
		return v, v.wrap(err)
	}
	v.text = text
	return v, nil
}
