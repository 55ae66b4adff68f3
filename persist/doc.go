// Package persist keeps the states of a node in a database, so that they outlive
// a stop of all nodes. It works for any backend.State:
//
//	store, err := persist.Open(persist.Options{DSN: "sqlite:/var/lib/alerts/state.db", Cluster: "alerts"})
//	kept, err := store.Keep(ctx, "silences", silences) // loads what is stored
//	channel, err := cluster.AddState("silences", kept, nil)
//	...
//	err = store.Close(ctx) // saves what has changed
//
// What adds its state by itself, as package replicated does, gets a node that keeps:
//
//	err = quotas.Attach(store.Keeping(ctx, node), "quotas")
//
// # Databases
//
//	sqlite:/path/file.db           SQLite, within this process; the directory must exist and be writable
//	postgres://user@host/database  PostgreSQL 12 or later, with the parameters of libpq
//	mysql://user@host/database     MySQL 8 or MariaDB 10.5 or later, with those of go-sql-driver
//
// The first node that has the right makes the tables clusterchannel_state,
// clusterchannel_rejected and clusterchannel_schema, and migrates them later.
// One state of one cluster is one row, so clusters can share a database without
// meeting.
//
// # Several nodes, one database
//
// They may share it, but need not: each node has everything. A save first
// merges what others have saved since, and then replaces the row only if it is
// still that one; so the last writer loses nothing. Nodes with equal states
// write only once in all.
//
// # When the database is lost
//
// Nothing stops: the states live in memory and on the other nodes. The store
// tries to load and save again, with back-off, and the metrics show it. A state
// that could not be loaded at first is merged when the database is back, before
// it is saved.
//
// A database that can only be read is loaded: a server or a disk that accepts
// no writes, and a file of SQLite in a directory where this node may not write.
//
// A row of a later version of this program is left as it is, and named in the
// log: this node saves nothing there until it is of that version too. A row that
// is damaged is copied to clusterchannel_rejected, named in the log, and replaced.
//
// So is a row of which Merge returns an error, after it has merged what it can. But where
// that error, or one that it wraps, has a method Later() bool that is true, what is refused
// is not at fault, and is merged later: a clock of this node that is days behind, say. Then
// the row is left as it is, and this node saves nothing there until it has merged it.
//
// A crash loses at most one Interval of what only this node knew. A save is one
// statement: a crash during it leaves the former row.
package persist
