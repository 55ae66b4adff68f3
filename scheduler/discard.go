package scheduler

import (
	"context"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// discard is the storage for the manager's series ALERTS, which drops them.
type discard struct{}

// AppenderV2 implements storage.AppendableV2.
func (discard) AppenderV2(context.Context) storage.AppenderV2 { return discard{} }

// Append implements storage.AppenderV2.
func (discard) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AppendV2Options) (storage.SeriesRef, error) {
	return 0, nil
}

// Commit implements storage.AppenderTransaction.
func (discard) Commit() error { return nil }

// Rollback implements storage.AppenderTransaction.
func (discard) Rollback() error { return nil }
