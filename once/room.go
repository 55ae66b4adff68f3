package once

import (
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/replicated"
)

const (
	leastAttempts = 1024      // that may be known, however few keys are remembered
	leastBytes    = 256 << 20 // for keys and values
	bytesPerKey   = 1 << 10   // of a result without its value, or an attempt: more than they take
)

// attempts is how many attempts may be known.
func (o *Options) attempts() int { return max(o.MaxKeys, leastAttempts) }

// bytes is how much may be held for a value to be told too.
func (o *Options) bytes() int64 { return max(leastBytes, bytesPerKey*int64(o.MaxKeys)) }

// notes are the options of a map that has room for twice what one node lets be told, as
// two parts of a cluster may have done when they meet, and beside the values always for
// results without them.
func (o *Options) notes() *replicated.Options {
	entries := 2 * (o.MaxKeys + o.attempts())
	return &replicated.Options{
		Type:       "once",
		MaxEntries: entries,
		MaxBytes:   2*o.bytes() + bytesPerKey*int64(entries),
		Now:        o.Now,
		Registerer: o.Registerer,
		Tombstones: time.Second, // each entry ends by itself, and none lives longer than the one before
	}
}

// admit has the result of a key be one of those that are remembered, with its value, if
// there is room for both. It counts at once, and until dismissed.
func (l *ledger) admit(key string, value []byte) error {
	if held := l.notes.Stats().Bytes; len(value) > 0 && held+int64(len(value)) > l.opts.bytes() {
		return fmt.Errorf("%w: no room for the %d bytes of a value beside %d, want at most %d", replicated.ErrFull, len(value), held, l.opts.bytes())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.results[key] && len(l.results) >= l.opts.MaxKeys {
		return fmt.Errorf("%w: %d keys are remembered, MaxKeys is %d", replicated.ErrFull, len(l.results), l.opts.MaxKeys)
	}
	l.results[key] = true
	return nil
}

// recount dismisses a key of which the map has no result.
func (l *ledger) recount(key string) {
	if _, there := l.result(key); !there {
		l.count(key, false)
	}
}

// count notes whether the map has a result of a key.
func (l *ledger) count(key string, there bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if there {
		l.results[key] = true
	} else {
		delete(l.results, key)
	}
}

// admitAttempt returns an error if there is no room for an attempt. In place of an
// earlier one there always is.
func (l *ledger) admitAttempt(entry string) error {
	if _, again := l.notes.Get(entry); again {
		return nil
	}
	l.mu.Lock()
	results := len(l.results)
	l.mu.Unlock()
	if known := l.notes.Len() - results; known >= l.opts.attempts() {
		return fmt.Errorf("%w: %d attempts are known", replicated.ErrFull, known)
	}
	return nil
}
