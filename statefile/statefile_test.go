package statefile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSavedIsLoaded(t *testing.T) {
	f := File{Path: filepath.Join(t.TempDir(), "alerts"), Kind: "alerts", Format: 1}
	if data, err := f.Load(); err != nil || data != nil {
		t.Errorf("without a file: %q, %v", data, err)
	}
	for _, data := range []string{"first", "", "second\nand more\n"} {
		if err := f.Save([]byte(data)); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(); err != nil || string(got) != data {
			t.Errorf("%q was loaded as %q, %v", data, got, err)
		}
	}
	if files, err := os.ReadDir(filepath.Dir(f.Path)); err != nil || len(files) != 1 {
		t.Errorf("files: %v, %v", files, err)
	}
}

func TestWhatCannotBeUsedIsNamedAndLeft(t *testing.T) {
	dir := t.TempDir()
	sound := File{Path: filepath.Join(dir, "sound"), Kind: "alerts", Format: 2}
	if err := sound.Save([]byte("all of it")); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(sound.Path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		content, word string
		format        int
	}{
		"torn":    {string(content[:len(content)-2]), "checksum", 2},
		"newer":   {string(content), "format 2, known up to 1", 1},
		"foreign": {"\x0a\x0bnflog", "holds no alerts", 2},
		"empty":   {"", "holds no alerts", 2},
		"other":   {strings.Replace(string(content), "alerts", "rules", 1), "holds no alerts", 2},
	} {
		f := File{Path: filepath.Join(dir, name), Kind: "alerts", Format: c.format}
		if err := os.WriteFile(f.Path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := f.Load()
		if !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), f.Path) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(f.Path); err != nil || string(after) != c.content {
			t.Errorf("%s: it was changed: %q, %v", name, after, err)
		}
	}
}

func TestFailedSaveLeavesTheFormer(t *testing.T) {
	f := File{Path: filepath.Join(t.TempDir(), "absent", "alerts"), Kind: "alerts", Format: 1}
	if err := f.Save(nil); err == nil {
		t.Error("it was saved where there is no directory")
	}
}
