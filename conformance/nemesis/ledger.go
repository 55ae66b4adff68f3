package nemesis

import (
	"fmt"
	"hash/crc32"
	"sync"
)

// ledger knows what was ever written in a cluster.
type ledger struct {
	mu  sync.Mutex
	all map[string]uint32 // checksums, by state and entry
}

// write notes an entry.
func (l *ledger) write(key, name string, size int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[key+"/"+name] = crc32.ChecksumIEEE(content(name, size))
}

// wrote reports whether an entry was written with such a checksum.
func (l *ledger) wrote(key, name string, sum uint32) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, known := l.all[key+"/"+name]
	switch {
	case !known:
		return fmt.Errorf("%s has no entry %q", key, name)
	case sum != was:
		return fmt.Errorf("entry %q of %s has other bytes", name, key)
	}
	return nil
}
