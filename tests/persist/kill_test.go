package persist_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// asSaver makes this binary save one word after the other, and print each that
// is saved.
const asSaver = "CLUSTERCHANNEL_TEST_SAVER"

func TestKillDuringSave(t *testing.T) {
	if file := os.Getenv(asSaver); file != "" {
		saveForEver(t, file)
	}
	path := filepath.Join(t.TempDir(), "state.db")
	want := map[string]bool{}
	for round := range 5 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillDuringSave$")
		cmd.Env = append(os.Environ(), asSaver+"="+path, fmt.Sprintf("%s_ROUND=%d", asSaver, round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		saved := bufio.NewScanner(out)
		for range 20 + 7*round {
			if !saved.Scan() {
				t.Fatal("the saver has ended")
			}
			want[saved.Text()] = true
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for saved.Scan() {
			if strings.HasPrefix(saved.Text(), "word-") {
				want[saved.Text()] = true
			}
		}
		_ = cmd.Wait() // it was killed
	}
	n := open(t, "sqlite:"+path, nil)
	w := wordsOf()
	n.keep(t, "words", w)
	for word := range want {
		if !slices.Contains(w.list(), word) {
			t.Errorf("%s was saved and is lost", word)
		}
	}
	if got := n.count(t, "clusterchannel_persist_rejected_total"); got != 0 {
		t.Errorf("%v rows are damaged", got)
	}
}

func saveForEver(t *testing.T, path string) {
	for i := 0; ; i++ {
		word := fmt.Sprintf("word-%s-%d-%s", os.Getenv(asSaver+"_ROUND"), i, strings.Repeat("x", 1000))
		n := open(t, "sqlite:"+path, nil)
		n.keep(t, "words", wordsOf(word))
		if err := n.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		fmt.Println(word)
	}
}
