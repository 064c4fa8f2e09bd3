#!/bin/bash
# The entry point of the stand-in for postgres. As there, the first start makes a cluster in
# PGDATA for POSTGRES_USER (postgres unless said) with POSTGRES_PASSWORD, which must be given, and
# the database POSTGRES_DB (the user's name unless said). It listens on 5432 everywhere; arguments
# go to the server.
set -euo pipefail

export PGDATA=${PGDATA:-/var/lib/postgresql/data}
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?give the superuser a password: POSTGRES_PASSWORD}"
    initdb --username="$user" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    if [ "$database" != postgres ]; then
        # a server that nobody can reach yet
        echo "create database \"${database//\"/\"\"}\"" | postgres --single postgres
    fi
fi

[ "${1:-}" != postgres ] || shift
exec postgres -c listen_addresses='*' "$@"
