package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// enoughRoom is what should be free: a state is written beside the former one.
const enoughRoom = 64 << 20

// Directory reports whether files can be made in dir, and whether there is room for
// them. It leaves nothing there. made says that whoever needs it makes it where it
// is absent.
func Directory(e driver.Examination, name, dir string, made bool) bool {
	tried := "make a file in " + dir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && made {
		parent := filepath.Dir(filepath.Clean(dir))
		if parent == dir || !Directory(e, name, parent, made) {
			return false
		}
		e.OK(name, "look for "+dir, "it is not there yet; it is made at the start")
		return true
	}
	if err := makeFile(dir); err != nil {
		e.Fail(name, tried, err, fixFile(err, dir))
		return false
	}
	free, ok := room(dir)
	switch {
	case !ok:
		e.OK(name, tried, "it can be done")
	case free < enoughRoom:
		e.Warn(name, tried, fmt.Sprintf("it can be done, but only %d MiB are free", free>>20), fmt.Sprintf("make room: \"df -h %s\" shows the disk", dir))
	default:
		e.OK(name, tried, fmt.Sprintf("it can be done, and %d MiB are free", free>>20))
	}
	return true
}

// makeFile makes a file that takes a block, and removes it.
func makeFile(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

func fixFile(err error, dir string) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("\"mkdir -p %s\", as the user that runs the node", dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("give it to the user that runs the node: \"ls -ld %s\" shows whose it is, and \"chown\" changes that", dir)
	case errors.Is(err, syscall.EROFS):
		return fmt.Sprintf("its file system is mounted read-only: \"findmnt -T %s\" shows it; mount it for writing, or give another directory", dir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Sprintf("make room: \"df -h %s\" shows the disk, and \"df -i %s\" how many files it may have", dir, dir)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Sprintf("%s, or what is above it, is a file: give a directory", dir)
	}
	return fmt.Sprintf("see whether its disk works: \"df -h %s\" shows which it is", dir)
}
