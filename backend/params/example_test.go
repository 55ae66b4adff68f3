package params_test

import (
	"fmt"
	"time"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// A backend describes its parameters by a struct.
func ExampleDecode() {
	type relay struct {
		Address  []string      `param:"address" default:"localhost:7000"`
		Timeout  time.Duration `param:"timeout" default:"5s"`
		Buffer   params.Bytes  `param:"buffer" default:"1MiB"`
		Password string        `param:"password" secret:"true"`
	}
	var p relay
	if err := params.Decode(map[string]string{"address": "a:7000, b:7000", "buffer": "64KiB"}, &p); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Address, p.Timeout, p.Buffer)

	fmt.Println(params.Decode(map[string]string{"timeout": "5"}, &p))
	fmt.Println(params.Decode(map[string]string{"pasword": "secret"}, &p))
	// Output:
	// [a:7000 b:7000] 5s 64KiB
	// bad configuration: timeout: "5" is not a duration with a unit, such as 500ms or 10s
	// bad configuration: "pasword" is not a known key, did you mean "password"? (known keys: address, buffer, password, timeout)
}

// Options in Go have the same errors.
func ExampleOrDefault() {
	wait, history := time.Duration(0), -1
	fmt.Println(params.OrDefault("wait", &wait, time.Minute), wait)
	fmt.Println(params.OrDefault("history", &history, 1000))
	// Output:
	// <nil> 1m0s
	// bad configuration: history: -1 is negative (0 means the default, 1000)
}
