package redis

import (
	"context"
	"maps"

	"github.com/clusterchannel/clusterchannel/backend/driver"
)

// openTLS is Open for URLs of the scheme rediss: TLS goes without saying.
func openTLS(ctx context.Context, o driver.Options, h driver.Handler) (driver.Driver, error) {
	if v, given := o.Params["tls"]; given && v != "true" {
		return nil, bad("tls", "is %q, but rediss means TLS; leave it out, or write redis", v)
	}
	all := map[string]string{"tls": "true"}
	maps.Copy(all, o.Params)
	o.Params = all
	return Open(ctx, o, h)
}
