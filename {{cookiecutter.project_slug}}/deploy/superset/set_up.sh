#!/bin/sh
# Makes Superset's own tables, its roles, its user and the dashboard. Safe to run again: the files of the dashboard count.
set -eu
superset db upgrade
superset init
python /opt/superset/set_up.py
