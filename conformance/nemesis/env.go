package nemesis

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// The variables of [Run].
const (
	forVariable    = "CLUSTERCHANNEL_NEMESIS_FOR"
	seedVariable   = "CLUSTERCHANNEL_NEMESIS_SEED"
	replayVariable = "CLUSTERCHANNEL_NEMESIS_REPLAY"
	dirVariable    = "CLUSTERCHANNEL_NEMESIS_DIR"
)

// shrinkFor is Options.Shrink of a run that the environment made long.
const shrinkFor = 5 * time.Minute

// fromEnv changes o as the environment says.
func (o *Options) fromEnv() (err error) {
	if text := os.Getenv(forVariable); text != "" {
		if o.For, err = time.ParseDuration(text); err != nil {
			return fmt.Errorf("nemesis: %s=%s: want a duration, such as 1h", forVariable, text)
		}
		o.Length, o.Shrink = 0, shrinkFor
	}
	if text := os.Getenv(seedVariable); text != "" {
		if o.Seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			return fmt.Errorf("nemesis: %s=%s: want a number from 0", seedVariable, text)
		}
	}
	if path := os.Getenv(replayVariable); path != "" {
		if o.Replay, err = Load(path); err != nil {
			return fmt.Errorf("%s: %w", replayVariable, err)
		}
	}
	if dir := os.Getenv(dirVariable); dir != "" {
		o.Dir = dir
	}
	return nil
}
