// Command clusterchannel runs the reference application and demonstrates it.
//
//	clusterchannel demo
//	clusterchannel conformance --backend redis --param address=localhost:6379
//	clusterchannel alertmanager --config.file=alertmanager.yml --cluster.peer=10.0.0.6:9094
package main

import (
	_ "github.com/clusterchannel/clusterchannel/backends/all"
	"github.com/clusterchannel/clusterchannel/cmd/command"
)

func main() { command.Main() }
