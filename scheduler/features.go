package scheduler

import (
	"strings"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/clusterchannel/clusterchannel/backend/params"
)

// parse returns the parser options for the features. It knows the features that
// Prometheus's parser has, or had.
func parse(features string) (o parser.Options, err error) {
	for name := range strings.SplitSeq(features, ",") {
		switch name {
		case "":
		case "promql-experimental-functions":
			o.EnableExperimentalFunctions = true
		case "promql-binop-fill-modifiers":
			o.EnableBinopFillModifiers = true
		case "promql-unquoted-utf8-names":
			o.EnableUnquotedUTF8Names = true
		case "promql-duration-expr", "promql-extended-range-selectors": // always on by now
		case "promql-delayed-name-removal": // a matter of the server that is queried
		default:
			return o, params.Bad("features", "%q is no feature of PromQL; known are promql-experimental-functions, promql-binop-fill-modifiers, promql-unquoted-utf8-names, promql-duration-expr, promql-extended-range-selectors, promql-delayed-name-removal",
				name)
		}
	}
	return o, nil
}
