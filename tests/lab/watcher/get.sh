#!/usr/bin/env bash
# Print the path of a Python that has OpenStack Watcher, made once in var/watcher. Nothing is installed anywhere else.
# Exit code 3, with one line that says what is missing, if there is no way.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
room=$(cd "$here/../../.." && pwd)/var
works() { [ -n "$1" ] && "$1" -W ignore -c 'import watcher.decision_engine' >/dev/null 2>&1; }

for known in "${WATCHER_PYTHON:-}" "$room/watcher/bin/python"; do
  if works "$known"; then
    echo "$known"
    exit 0
  fi
done
mkdir -p "$room"
rm -rf "$room/watcher"
if ! { python3 -m venv "$room/watcher" &&
  "$room/watcher/bin/pip" --disable-pip-version-check --no-input install -q -r "$here/requirements.txt"; } >"$room/watcher.log" 2>&1; then
  echo "missing: OpenStack Watcher, which pip could not install (see var/watcher.log); name a Python that has it in WATCHER_PYTHON" >&2
  exit 3
fi
works "$room/watcher/bin/python" || { echo "missing: an OpenStack Watcher that loads here; that of var/watcher does not" >&2; exit 3; }
echo "$room/watcher/bin/python"
