package postgres

import (
	"context"
	"errors"

	"github.com/clusterchannel/clusterchannel/backend/doctor"
	"github.com/clusterchannel/clusterchannel/backend/driver"
	"github.com/clusterchannel/clusterchannel/backend/params"
)

// examine is the backend's driver.ExamineFunc.
func examine(ctx context.Context, e driver.Examination) {
	var p Params
	// Open has accepted the parameters.
	if params.Decode(e.Params, &p) != nil || params.HostPorts("address", p.Address, "5432") != nil ||
		len(doctor.Reach(ctx, e, doctor.Resolve(ctx, e, p.Address))) == 0 {
		return
	}
	l, err := doctor.Listen(ctx, e, Open)
	failed := "protocol"
	if bad, ok := errors.AsType[*params.Error](err); ok {
		failed = bad.Key
	}
	if doctor.Stages(e, []doctor.Stage{
		{Name: "protocol", Tried: "speak PostgreSQL's protocol, with sslmode " + p.SSLMode},
		{Name: "username", Tried: doctor.LogIn(p.Username)},
		{Name: "database", Tried: "open the database " + p.Database},
	}, failed, err) {
		defer l.Close()
		l.Hear(ctx)
	}
}
