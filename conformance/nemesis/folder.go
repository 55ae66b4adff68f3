package nemesis

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// The files of a violation's folder.
const (
	scheduleFile = "schedule.txt"
	shrunkFile   = "shrunk.txt"
)

// Load returns the schedule of a file, or of the folder of a violation: the shrunk
// one, if there is one.
func Load(path string) (*Schedule, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		s, err := Load(filepath.Join(path, shrunkFile))
		if errors.Is(err, os.ErrNotExist) {
			return Load(filepath.Join(path, scheduleFile))
		}
		return s, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("nemesis: %w", err)
	}
	return Parse(string(text))
}

// record writes all about the violation of w into a folder of its own below dir.
func (w *world) record(dir string) error {
	v := w.violation
	folder := filepath.Join(dir, fmt.Sprintf("nemesis-%s-seed-%d-%s", w.h.Backend, w.schedule.Seed, v.Promise))
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	files := map[string]string{
		"violation.txt": v.Error() + "\n",
		"story.txt":     w.story.String(),
		scheduleFile:    w.commented(w.schedule).String(),
	}
	for _, n := range w.nodes {
		files[n.String()+".log"] = n.log.String()
		files[n.String()+".views"] = n.seen.String()
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o666); err != nil {
			return err
		}
	}
	v.Folder = folder
	return nil
}

// recordShrunk adds the smaller schedule.
func (w *world) recordShrunk() error {
	text := w.commented(w.violation.Shrunk).String()
	return os.WriteFile(filepath.Join(w.violation.Folder, shrunkFile), []byte(text), 0o666)
}

// commented returns s with the violation as its comment.
func (w *world) commented(s *Schedule) *Schedule {
	c := s.copy()
	c.Comment = []string{fmt.Sprintf("%s broke %s: %.200q", w.h.Backend, w.violation.Promise, w.violation.Text)}
	return c
}
