#!/bin/sh
# Runs PostgreSQL as the entry point of its official image does: a directory
# PGDATA without data is initialized by POSTGRES_PASSWORD, POSTGRES_USER,
# POSTGRES_DB, POSTGRES_INITDB_ARGS and POSTGRES_HOST_AUTH_METHOD. The first
# argument is the program. Root becomes the user postgres.
set -eu

case "$1" in
-*) set -- postgres "$@" ;;
/*) PATH="$(dirname "$(readlink -f "$1")"):$PATH" ;;
postgres) ;;
*) exec "$@" ;;
esac
: "${PGDATA:=/var/lib/postgresql/data}" "${POSTGRES_USER:=postgres}" "${POSTGRES_HOST_AUTH_METHOD:=scram-sha-256}"
: "${POSTGRES_DB:=$POSTGRES_USER}"
export PGDATA

as=
mkdir -p "$PGDATA"
if [ "$(id -u)" -eq 0 ]; then
	chown postgres: "$PGDATA"
	as="setpriv --reuid=postgres --regid=postgres --init-groups"
	# A change of user forgets that the process shall end with its parent.
	[ $$ -eq 1 ] || as="$as --pdeathsig KILL"
fi
chmod 700 "$PGDATA"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
	if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
		echo "POSTGRES_PASSWORD is not set, and POSTGRES_HOST_AUTH_METHOD is not trust" >&2
		exit 1
	fi
	password="$(mktemp)"
	printf '%s\n' "${POSTGRES_PASSWORD:-}" >"$password"
	[ -z "$as" ] || chown postgres: "$password"
	[ -z "${POSTGRES_PASSWORD:-}" ] || pwfile="--pwfile=$password"
	# shellcheck disable=SC2086 # both may be several words, or none
	$as initdb --username="$POSTGRES_USER" ${pwfile:-} ${POSTGRES_INITDB_ARGS:-} >/dev/null
	rm -f "$password"
	printf "listen_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
	printf 'host all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >>"$PGDATA/pg_hba.conf"
	if [ "$POSTGRES_DB" != postgres ]; then
		echo "CREATE DATABASE \"$POSTGRES_DB\"" | $as postgres --single postgres >/dev/null
	fi
fi
exec $as "$@"
