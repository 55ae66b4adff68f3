package scheduler

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/clusterchannel/clusterchannel/backend"
	"github.com/clusterchannel/clusterchannel/statefile"
)

// saveEvery is how often the board is saved. A group's snapshot may be much
// older than that, so little is lost in between.
const saveEvery = 10 * time.Second

// stateFile saves a board. If every node evaluates, the board holds this node's
// own results; it is not replicated.
type stateFile struct {
	file   statefile.File
	board  *board
	logger *slog.Logger
	saved  uint64 // digest
	failed bool   // the last time
}

// openStateFile restores the board from what was saved.
func openStateFile(path string, b *board, logger *slog.Logger) (*stateFile, error) {
	f := &stateFile{file: statefile.File{Path: path, Kind: "rules", Format: version}, board: b, logger: logger}
	data, err := f.file.Load()
	if err == nil && data != nil {
		if err = b.restore(data); err != nil {
			err = fmt.Errorf("%s: %w; %w", path, err, statefile.ErrUnusable)
		}
	}
	if errors.Is(err, statefile.ErrUnusable) {
		return nil, fmt.Errorf("%w: state file: %w", backend.ErrConfig, err)
	}
	if err != nil {
		return nil, fmt.Errorf("state file: %w", err)
	}
	return f, nil
}

func (f *stateFile) run(stop <-chan struct{}) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.save()
		case <-stop:
			return
		}
	}
}

func (f *stateFile) save() {
	digest, _ := f.board.Digest() // never fails
	if digest == f.saved {
		return
	}
	data, err := f.board.MarshalBinary()
	if err == nil {
		err = f.file.Save(data)
	}
	if err != nil {
		if !f.failed {
			f.logger.Error("the states of the rules could not be saved; still trying", "file", f.file.Path, "err", err)
		}
		f.failed = true
		return
	}
	f.saved, f.failed = digest, false
}
