package persist

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// migrations lead from one version of the schema to the next. Nodes may run the
// same one at once, so each statement must be safe to repeat. BLOB and TEXT are
// replaced by the dialect's types.
var migrations = [][]string{
	{
		`CREATE TABLE IF NOT EXISTS clusterchannel_state (
			id CHAR(64) NOT NULL PRIMARY KEY,
			cluster_name TEXT NOT NULL, state_key TEXT NOT NULL,
			version BIGINT NOT NULL, format INTEGER NOT NULL, digest BIGINT NOT NULL, checksum CHAR(64) NOT NULL,
			saved_at BIGINT NOT NULL, saved_by TEXT NOT NULL, data BLOB NOT NULL)`,
		`CREATE TABLE IF NOT EXISTS clusterchannel_rejected (
			id CHAR(64) NOT NULL, version BIGINT NOT NULL,
			cluster_name TEXT NOT NULL, state_key TEXT NOT NULL, format INTEGER NOT NULL,
			reason TEXT NOT NULL, rejected_at BIGINT NOT NULL, data BLOB NOT NULL,
			PRIMARY KEY (id, version))`,
	},
}

var errSchema = errors.New("the schema is of a later version of this program")

// migrate brings the schema to the version that this program knows. It writes
// nothing if the database has that version, so it works for a database that can
// only be read.
func (d *database) migrate(ctx context.Context) error {
	version, err := d.schema(ctx)
	if isNoTable(err) {
		if err = d.create(ctx, `CREATE TABLE IF NOT EXISTS clusterchannel_schema (id INTEGER NOT NULL PRIMARY KEY, version INTEGER NOT NULL)`); err == nil {
			version, err = d.schema(ctx)
		}
	}
	if errors.Is(err, sql.ErrNoRows) {
		if _, err = d.exec(ctx, `INSERT INTO clusterchannel_schema (id, version) VALUES (1, 0)`); isDuplicate(err) {
			version, err = d.schema(ctx) // another node did, and may have migrated further by now
		}
	}
	if err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	if version > len(migrations) {
		return fmt.Errorf("%w: it is %d, known up to %d", errSchema, version, len(migrations))
	}
	for ; version < len(migrations); version++ {
		for _, statement := range migrations[version] {
			if err := d.create(ctx, d.typed(statement)); err != nil {
				return fmt.Errorf("schema: to version %d: %w", version+1, err)
			}
		}
		if _, err := d.exec(ctx, `UPDATE clusterchannel_schema SET version = ? WHERE id = 1 AND version = ?`, version+1, version); err != nil {
			return fmt.Errorf("schema: to version %d: %w", version+1, err)
		}
	}
	return nil
}

// schema returns the version of the database's schema.
func (d *database) schema(ctx context.Context) (version int, err error) {
	err = d.QueryRowContext(ctx, `SELECT version FROM clusterchannel_schema WHERE id = 1`).Scan(&version)
	return version, err
}

// create runs a statement that creates what is absent. If several nodes do so
// at once, PostgreSQL refuses all but one; the others then find it there.
func (d *database) create(ctx context.Context, statement string) error {
	_, err := d.exec(ctx, statement)
	if isDuplicate(err) {
		_, err = d.exec(ctx, statement)
	}
	return err
}

func (d *database) typed(statement string) string {
	return strings.NewReplacer(" TEXT", " "+d.text, " BLOB", " "+d.blob).Replace(statement)
}
