package persist

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// The formats of a row's data. Later ones are unknown.
const (
	whole    = 1 // the MarshalBinary of its state
	inPieces = 2 // the name of a save, whose pieces are the same
	known    = inPieces
)

// keptRejects is how many unusable rows of one state are kept aside.
const keptRejects = 10

// row is the stored form of one state.
type row struct {
	version  int64 // 0: there is none
	format   int
	digest   int64
	checksum string // of the state
	data     []byte // the state, or as much of it as there is
	stored   []byte // the data column
}

// place says where a state is stored.
type place struct {
	id           string // unlike names in a database, it has no collation, which may ignore case
	cluster, key string
}

func placeOf(cluster, key string) place {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(cluster), cluster, key))
	return place{hex.EncodeToString(sum[:]), clipped(cluster), clipped(key)}
}

// clipped is a text for people, short enough for the column of every dialect.
func clipped(s string) string {
	runes := []rune(strings.ReplaceAll(s, "\x00", "\uFFFD")) // so is what is no UTF-8
	return string(runes[:min(len(runes), 200)])
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// errLater says that a row was saved by a later version of this program. Such a
// row is not replaced: this version could not tell what it would lose.
var errLater = errors.New("the row is of a later version of this program")

// head reads which row there is, without its data. Its error wraps errLater if
// the row is of an unknown format.
func (d *database) head(ctx context.Context, p place) (r row, err error) {
	err = d.QueryRowContext(ctx, d.bind(`SELECT version, format, digest FROM clusterchannel_state WHERE id = ?`), p.id).Scan(&r.version, &r.format, &r.digest)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, nil
	}
	return r, cmp.Or(err, r.later())
}

func (r row) later() error {
	if r.format <= known {
		return nil
	}
	return fmt.Errorf("%w: its format is %d, known up to %d; update this program, the row is left as it is", errLater, r.format, known)
}

func (d *database) read(ctx context.Context, p place) (row, error) {
	for {
		r, err := d.readRow(ctx, p)
		if err != nil || r.format != inPieces {
			return r, err
		}
		var complete bool
		if r.data, complete, err = d.readPieces(ctx, p, string(r.stored)); err != nil || complete {
			return r, err
		}
		if now, err := d.head(ctx, p); err != nil || now.version == r.version {
			return r, err // they are lost; else another node has replaced them meanwhile
		}
	}
}

func (d *database) readRow(ctx context.Context, p place) (r row, err error) {
	err = d.QueryRowContext(ctx, d.bind(`SELECT version, format, digest, checksum, data FROM clusterchannel_state WHERE id = ?`), p.id).
		Scan(&r.version, &r.format, &r.digest, &r.checksum, &r.stored)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, nil
	}
	r.data = r.stored
	return r, cmp.Or(err, r.later())
}

// write replaces the row of version seen, or inserts the first one if seen is
// 0. It reports whether that version was still the current one.
func (d *database) write(ctx context.Context, p place, seen int64, digest int64, data []byte, by string) (bool, error) {
	if len(data) <= pieceSize {
		return d.writeRow(ctx, p, seen, digest, checksum(data), whole, data, by)
	}
	former, err := d.save(ctx, p, seen)
	if err != nil {
		return false, err
	}
	save, err := d.writePieces(ctx, p, data)
	done := false
	if err == nil {
		done, err = d.writeRow(ctx, p, seen, digest, checksum(data), inPieces, []byte(save), by)
	}
	if !done {
		return false, errors.Join(err, d.dropPieces(ctx, p, save, seen))
	}
	return true, d.dropPieces(ctx, p, former, seen)
}

func (d *database) writeRow(ctx context.Context, p place, seen, digest int64, sum string, format int, data []byte, by string) (bool, error) {
	now := time.Now().Unix()
	if seen == 0 {
		_, err := d.exec(ctx, `INSERT INTO clusterchannel_state (id, cluster_name, state_key, version, format, digest, checksum, saved_at, saved_by, data) VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?, ?)`,
			p.id, p.cluster, p.key, format, digest, sum, now, clipped(by), data)
		if isDuplicate(err) {
			return false, nil
		}
		return err == nil, err
	}
	n, err := d.exec(ctx, `UPDATE clusterchannel_state SET version = ?, format = ?, digest = ?, checksum = ?, saved_at = ?, saved_by = ?, data = ? WHERE id = ? AND version = ?`,
		seen+1, format, digest, sum, now, clipped(by), data, p.id, seen)
	return n > 0, err
}

// later names the states that a later version of this program has saved.
func (d *database) later(ctx context.Context) (names []string, err error) {
	rows, err := d.QueryContext(ctx, d.bind(`SELECT cluster_name, state_key FROM clusterchannel_state WHERE format > ? ORDER BY 1, 2`), known)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err returns the reason
	for rows.Next() {
		var cluster, key string
		if err := rows.Scan(&cluster, &key); err != nil {
			return nil, err
		}
		names = append(names, fmt.Sprintf("%q of cluster %q", key, cluster))
	}
	return names, rows.Err()
}

// reject keeps an unusable row aside.
func (d *database) reject(ctx context.Context, p place, r row, reason string) error {
	_, err := d.exec(ctx, `INSERT INTO clusterchannel_rejected (id, version, cluster_name, state_key, format, reason, rejected_at, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		p.id, r.version, p.cluster, p.key, r.format, clipped(reason), time.Now().Unix(), r.stored)
	if isDuplicate(err) {
		return nil // another node has
	}
	if err != nil {
		return err
	}
	_, err = d.exec(ctx, `DELETE FROM clusterchannel_rejected WHERE id = ? AND version <= ?`, p.id, r.version-keptRejects)
	return err
}
