package grafanaini

import (
	"fmt"
	"os"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
)

// Settings are what an ini file says.
type Settings struct {
	// Config is the cluster to join. Its Backend is empty if high availability is
	// off.
	Config backend.Config

	// Enabled says whether alerting is on. If it is false, high availability is
	// off.
	Enabled bool

	// ExecuteAlerts says whether this instance evaluates rules: execute_alerts,
	// and that of the older section [alerting].
	ExecuteAlerts bool

	// EvaluationTimeout bounds the evaluation of a rule. MinInterval is the shortest
	// interval of one, a multiple of 10s. Where they have their defaults, the older
	// section's evaluation_timeout_seconds and min_interval_seconds count.
	EvaluationTimeout time.Duration
	MinInterval       time.Duration

	// NotificationLogRetention is how long the notification log keeps an entry.
	NotificationLogRetention time.Duration

	// MaxSilences and MaxSilenceSize, in bytes, limit the silences; 0 is no limit.
	MaxSilences, MaxSilenceSize int

	// PeerTimeout is how long an instance waits, times its position, before it sends.
	PeerTimeout time.Duration

	// PushPullInterval is how often full states are exchanged. Config has it too.
	PushPullInterval time.Duration

	// SingleNodeEvaluation says whether one node evaluates for all.
	SingleNodeEvaluation bool

	// Values are the keys that have an effect, given or not, in a fixed order.
	Values []Value

	// Ignored are the keys that are given and have no effect.
	Ignored []Ignored
}

// A Value is one key that has an effect.
type Value struct {
	Key    string
	Param  string // what it sets: a parameter of the backend, or one of backend.Keys; may be empty
	Text   string // params.Redacted in place of a secret
	Secret bool
	Source Source
	Line   int    // in the file; 0 where it is not from there or not known
	From   string // the file or the variable; empty for a default
	Older  string // the key of the older section [alerting] that Text is from, if one decides
}

// Ignored is a key that is given and has no effect.
type Ignored struct {
	Key  string // with its section before it, if that is not [unified_alerting]
	Line int    // in the file; 0 where it is not from there or not known
	Why  string
}

// Source says which layer a value is from.
type Source string

// The layers.
const (
	Default     Source = "default"
	File        Source = "file"
	Environment Source = "environment"
)

// Sources are what an ini file refers to. The zero value uses the process's
// own.
type Sources struct {
	Environ  []string                          // as of os.Environ, which nil stands for
	ReadFile func(path string) ([]byte, error) // nil stands for os.ReadFile
	Hostname func() (string, error)            // nil stands for os.Hostname
}

// Load reads the file at path. Its errors wrap backend.ErrConfig.
func Load(path string) (Settings, error) { return Sources{}.Load(path) }

// Load is the function Load with other sources.
func (s Sources) Load(path string) (Settings, error) {
	s.complete()
	text, err := s.ReadFile(path)
	if err != nil {
		return Settings{}, fmt.Errorf("%w: %w", backend.ErrConfig, err)
	}
	return s.Parse(path, text)
}

// Parse reads text, the content of a file that errors call name.
func (s Sources) Parse(name string, text []byte) (Settings, error) {
	s.complete()
	doc, err := parse(name, text)
	if err != nil {
		return Settings{}, err
	}
	r := &reader{doc: doc, sources: s, environ: environMap(s.Environ), values: map[string]value{}, whole: map[string]value{}}
	return r.settings()
}

func (s *Sources) complete() {
	if s.Environ == nil {
		s.Environ = os.Environ()
	}
	if s.ReadFile == nil {
		s.ReadFile = os.ReadFile
	}
	if s.Hostname == nil {
		s.Hostname = os.Hostname
	}
}
