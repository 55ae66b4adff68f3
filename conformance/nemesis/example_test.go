package nemesis_test

import (
	"fmt"

	"github.com/clusterchannel/clusterchannel/conformance/nemesis"
)

// A schedule is text. Parse refuses what is no schedule.
func ExampleParse() {
	s, err := nemesis.Parse(`
seed 7
  0s start a b c
  1s for 3s cut a     # over at 4s
  2s kill b
  5s start b
`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(s)
	_, err = nemesis.Parse("1s cut a")
	fmt.Println(err)
	// Output:
	// seed 7
	//     0s start a b c
	//     1s for 3s cut a
	//     2s kill b
	//     5s start b
	// nemesis: line 1: "1s cut a": cut needs an end: for DURATION
}
