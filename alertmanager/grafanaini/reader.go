package grafanaini

import (
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
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
		EvaluationTimeout:        r.values["evaluation_timeout"].span,
		MinInterval:              r.values["min_interval"].span,
		NotificationLogRetention: r.values["notification_log_retention"].span,
		PeerTimeout:              r.values["ha_peer_timeout"].span,
		PushPullInterval:         r.values["ha_push_pull_interval"].span,
		SingleNodeEvaluation:     r.values["ha_single_node_evaluation"].yes,
	}
	if v := r.values["min_interval"]; v.span%baseInterval != 0 {
		return Settings{}, v.errorf("is not a multiple of %v", baseInterval)
	}
	if s.ExecuteAlerts, err = r.executeAlerts(); err != nil {
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

// executeAlerts reads the older section too.
func (r *reader) executeAlerts() (bool, error) {
	v := r.values["execute_alerts"]
	text, from := r.environ["GF_ALERTING_EXECUTE_ALERTS"], "GF_ALERTING_EXECUTE_ALERTS"
	if e, ok := r.doc.get("alerting", "execute_alerts"); ok && text == "" {
		text, from = e.text, r.doc.where("alerting", "execute_alerts")
	}
	if text == "" {
		return v.yes, nil
	}
	text, err := r.expand(text)
	if err != nil {
		return false, fmt.Errorf("%s: %w: [alerting] execute_alerts: %w", from, backend.ErrConfig, err)
	}
	older, err := parseBool(text)
	if err != nil {
		return false, fmt.Errorf("%s: %w: [alerting] execute_alerts: %q %w", from, backend.ErrConfig, shorten(text), err)
	}
	return v.yes && older, nil
}
