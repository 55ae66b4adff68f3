// Command cmd is the whole command clusterchannel for the backend of this
// example: with demo, alertmanager, conformance, doctor and config check.
package main

import (
	_ "example.com/postgres"

	"github.com/clusterchannel/clusterchannel/cmd/command"
)

func main() { command.Main() }
