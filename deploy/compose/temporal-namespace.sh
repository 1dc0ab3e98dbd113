#!/bin/sh
# Makes the namespace when it is not there yet. TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE are the command's own settings.
set -eu

# The server answers on its port some time before it serves.
attempt=0
until temporal operator cluster health; do
  attempt=$((attempt + 1))
  [ "$attempt" -lt 60 ] || exit 1
  sleep 1
done

temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 ||
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 7d
