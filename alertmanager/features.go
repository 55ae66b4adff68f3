package alertmanager

import (
	"cmp"
	"log/slog"
	"sync"

	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// features reads Options.Features, and sets how this process parses names and
// matchers.
func features(names string, logger *slog.Logger) (featurecontrol.Flagger, error) {
	flags, err := featurecontrol.NewFlags(logger, names)
	if err != nil {
		return nil, params.Bad("features", "%w", err)
	}
	if err := matchers.use(flags, logger); err != nil {
		return nil, err
	}
	return flags, nil
}

// matchers is how this process parses names of labels and matchers.
// Alertmanager's packages keep it in global variables that they read without a
// lock, so it is set once.
var matchers naming

type naming struct {
	mu   sync.Mutex
	mode string // empty: not set
}

// use sets the mode of flags, or refuses one that differs from the one set.
func (n *naming) use(flags featurecontrol.Flagger, logger *slog.Logger) error {
	mode := "the default"
	switch {
	case flags.ClassicMode():
		mode = featurecontrol.FeatureClassicMode
	case flags.UTF8StrictMode():
		mode = featurecontrol.FeatureUTF8StrictMode
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if cmp.Or(n.mode, mode) != mode {
		return params.Bad("features", "this process already parses names by %s, and cannot by %s too: give all its instances the same", n.mode, mode)
	}
	if n.mode == "" {
		n.mode = mode
		compat.InitFromFlags(logger, flags)
	}
	return nil
}
