#!/bin/sh
# Fails unless dist/ is what the sources make, to the byte: builds into a folder of its own and compares. Installs what
# the lock says first, unless it is there.
set -eu
cd "$(dirname "$0")"

installed=node_modules/.installed
if [ ! -e "$installed" ] || [ package-lock.json -nt "$installed" ]; then
  npm ci --silent --no-audit --no-fund
  touch "$installed"
fi

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
npm run --silent build -- --outDir "$built" --emptyOutDir --logLevel warn
if ! diff -r dist "$built"; then
  echo "playground/dist is not what playground/src makes: run 'npm run build' there and commit what changes" >&2
  exit 1
fi
echo "playground/dist is what its sources make"
