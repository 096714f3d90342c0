#!/bin/sh
# Makes Dagster's database beside the catalog's, and a user who may use that one alone. Safe to run again: a new password counts.
set -eu
psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 <<'SQL'
\getenv password DAGSTER_POSTGRES_PASSWORD
select 'create role dagster' where not exists (select from pg_roles where rolname = 'dagster') \gexec
alter role dagster login password :'password';
select 'create database dagster owner dagster' where not exists (select from pg_database where datname = 'dagster') \gexec
revoke all on database catalog, dagster, postgres from public;
SQL
echo "dagster is set up"
