package statefile_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/clusterchannel/clusterchannel/statefile"
)

// A state is saved whole, and read back when the program starts again.
func Example() {
	dir, err := os.MkdirTemp("", "statefile")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is temporary anyway
	f := statefile.File{Path: filepath.Join(dir, "words"), Kind: "words", Format: 1}
	if err := f.Save([]byte("hello")); err != nil {
		fmt.Println(err)
		return
	}
	data, err := f.Load()
	fmt.Println(string(data), err)
	// Output: hello <nil>
}
