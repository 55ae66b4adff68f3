// Package statefile keeps a state in a file: the former content or the new one,
// never a part. The first line of a file says what it holds, in which format,
// and its checksum:
//
//	clusterchannel alerts 1 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//
// A file that cannot be used is left as it is, and the error names it.
package statefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const magic = "clusterchannel"

// ErrUnusable is wrapped by the error of Load if the file was read, but holds
// something else.
var ErrUnusable = errors.New("it is left as it is: move it away to start without it, or put a backup there")

// File is where one state is kept. Its fields are required.
type File struct {
	Path   string
	Kind   string // of state: one word
	Format int    // of the data: files of a later one are refused
}

// Load returns the data that was saved, or nil where there is no file.
func (f File) Load() ([]byte, error) {
	content, err := os.ReadFile(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	head, data, _ := bytes.Cut(content, []byte("\n"))
	words := strings.Fields(string(head))
	if len(words) != 4 || words[0] != magic || words[1] != f.Kind {
		return nil, f.unusable("holds no %s", f.Kind)
	}
	format, err := strconv.Atoi(words[2])
	if err != nil || format < 1 {
		return nil, f.unusable("holds no %s", f.Kind)
	}
	if format > f.Format {
		return nil, f.unusable("is of format %d, known up to %d: a later version of this program has saved it", format, f.Format)
	}
	if words[3] != checksum(data) {
		return nil, f.unusable("is damaged: its %d bytes do not have the checksum that they were saved with", len(data))
	}
	return data, nil
}

func (f File) unusable(format string, args ...any) error {
	return fmt.Errorf("%s %s; %w", f.Path, fmt.Sprintf(format, args...), ErrUnusable)
}

// Save replaces the content by data, and returns when it is on the disk.
func (f File) Save(data []byte) (err error) {
	dir := filepath.Dir(f.Path)
	temporary, err := os.CreateTemp(dir, filepath.Base(f.Path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = temporary.Close() // of no use any more
			_ = os.Remove(temporary.Name())
		}
	}()
	if _, err = fmt.Fprintf(temporary, "%s %s %d %s\n", magic, f.Kind, f.Format, checksum(data)); err != nil {
		return err
	}
	if _, err = temporary.Write(data); err != nil {
		return err
	}
	if err = temporary.Sync(); err != nil {
		return err
	}
	if err = temporary.Close(); err != nil {
		return err
	}
	if err = os.Rename(temporary.Name(), f.Path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir puts the name of a file on the disk: a file that was written and renamed is
// otherwise the former one after a loss of power. Not every file system can, and
// Windows opens no directory for it.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrPermission) {
		return nil
	}
	return err
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
