package redis

import (
	"context"
	"maps"

	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// openTLS is Open for URLs of the scheme rediss.
func openTLS(ctx context.Context, o driver.Options) (driver.Driver, error) {
	p, err := impliedTLS(o.Params)
	if err != nil {
		return nil, err
	}
	o.Params = p
	return Open(ctx, o)
}

// examineTLS is examine for URLs of the scheme rediss.
func examineTLS(ctx context.Context, e driver.Examination) {
	p, err := impliedTLS(e.Params)
	if err != nil {
		e.Fail("configuration", "decode the parameters", err, doctor.Advice(err, ""))
		return
	}
	e.Params = p
	examine(ctx, e)
}

// impliedTLS adds the parameter that the scheme rediss stands for.
func impliedTLS(raw map[string]string) (map[string]string, error) {
	if v, given := raw["tls"]; given && v != "true" {
		return nil, params.Bad("tls", "is %q, but rediss means TLS; leave it out, or write redis", v)
	}
	all := map[string]string{"tls": "true"}
	maps.Copy(all, raw)
	return all, nil
}
