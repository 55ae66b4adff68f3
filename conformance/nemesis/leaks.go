package nemesis

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// holdings are what a process holds.
type holdings struct{ goroutines, descriptors int }

func held() holdings {
	h := holdings{goroutines: runtime.NumGoroutine()}
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil { // as Linux has it; elsewhere they are not counted
		h.descriptors = len(entries)
	}
	return h
}

// leftNothing wants what the cluster had to be given back.
func (w *world) leftNothing(before holdings) {
	w.judged(resources)
	w.within(resources, w.bounds.gone, "the process gives back what its nodes had", func() error {
		if w.beside {
			return nil
		}
		now := held()
		if now.goroutines > before.goroutines {
			return fmt.Errorf("%d goroutines, %d before:\n%s", now.goroutines, before.goroutines, stacks())
		}
		if now.descriptors > before.descriptors {
			return fmt.Errorf("%d file descriptors, %d before", now.descriptors, before.descriptors)
		}
		return nil
	})
	if w.h.Residue == nil || w.server == nil {
		return
	}
	w.within(resources, w.bounds.gone, "the server has nothing left of the cluster", func() (err error) {
		w.contained(func() {
			if left := w.h.Residue(w.tb, w.server, w.cluster); len(left) > 0 {
				err = fmt.Errorf("%s", strings.Join(left, ", "))
			}
		})
		return err
	})
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers of the first one let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// stacks returns those of all goroutines.
func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}
