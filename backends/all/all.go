// Package all registers every backend of this module, for a program that leaves
// the choice to its configuration:
//
//	import _ "github.com/clusterchannel/clusterchannel/backends/all"
package all

import (
	_ "github.com/clusterchannel/clusterchannel/backends/memberlist" // backend "memberlist"
)
