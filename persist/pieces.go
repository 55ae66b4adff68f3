package persist

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// pieceSize is how much one statement saves. Servers bound the size of a
// statement; the lowest of the usual defaults is 1 MiB, which includes the
// statement's text.
const pieceSize = 512 << 10

// orphans is the age at which pieces that no row names are removed. They are
// from a node that was killed while it saved, and from rejected rows.
const orphans = 30 * 24 * time.Hour

// pieces is made by the first node that has so large a state. It is no
// migration: programs that do not know it can still use the other tables.
const pieces = `CREATE TABLE IF NOT EXISTS clusterchannel_piece (
	id CHAR(64) NOT NULL, save CHAR(26) NOT NULL, nth INTEGER NOT NULL,
	saved_at BIGINT NOT NULL, data BLOB NOT NULL,
	PRIMARY KEY (id, save, nth))`

// writePieces writes data under a new name, which it returns. Nobody reads the
// pieces until a row has that name.
func (d *database) writePieces(ctx context.Context, p place, data []byte) (save string, err error) {
	if err := d.create(ctx, d.typed(pieces)); err != nil {
		return "", err
	}
	save = rand.Text()
	now := time.Now().Unix()
	for nth := 0; len(data) > 0; nth++ {
		piece := data[:min(len(data), pieceSize)]
		data = data[len(piece):]
		if _, err := d.exec(ctx, `INSERT INTO clusterchannel_piece (id, save, nth, saved_at, data) VALUES (?, ?, ?, ?, ?)`, p.id, save, nth, now, piece); err != nil {
			return save, fmt.Errorf("piece %d of %d bytes: %w", nth+1, len(piece), err)
		}
	}
	_, err = d.exec(ctx, `DELETE FROM clusterchannel_piece WHERE id = ? AND save <> ? AND saved_at < ?`, p.id, save, now-int64(orphans/time.Second))
	return save, err
}

// readPieces returns the data of a save, and reports whether there are pieces
// without a gap.
func (d *database) readPieces(ctx context.Context, p place, save string) (data []byte, complete bool, err error) {
	rows, err := d.QueryContext(ctx, d.bind(`SELECT nth, data FROM clusterchannel_piece WHERE id = ? AND save = ? ORDER BY nth`), p.id, save)
	if isNoTable(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = rows.Close() }() // Err returns the reason
	expected := 0
	for complete = true; rows.Next(); expected++ {
		var nth int
		var piece []byte
		if err := rows.Scan(&nth, &piece); err != nil {
			return nil, false, err
		}
		complete = complete && nth == expected
		data = append(data, piece...)
	}
	return data, complete && expected > 0, rows.Err()
}

// save returns the name of the pieces that the row of that version has, if it has
// any.
func (d *database) save(ctx context.Context, p place, version int64) (save string, err error) {
	err = d.QueryRowContext(ctx, d.bind(`SELECT data FROM clusterchannel_state WHERE id = ? AND version = ? AND format = ?`), p.id, version, inPieces).Scan(&save)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return save, err
}

// dropPieces removes a save, unless the row of that version, which had it, was
// rejected.
func (d *database) dropPieces(ctx context.Context, p place, save string, version int64) error {
	if save == "" {
		return nil
	}
	_, err := d.exec(ctx, `DELETE FROM clusterchannel_piece WHERE id = ? AND save = ? AND NOT EXISTS (SELECT 1 FROM clusterchannel_rejected r WHERE r.id = ? AND r.version = ?)`,
		p.id, save, p.id, version)
	return err
}
