#!/usr/bin/env bash
# The main job on real input: one sidecar, four application processes at the same time.
#
# usage: demo.sh BUILD_DIR PYTHON      a build with nacelled, nacellectl and demo_app; a Python with
#                                      the nacelle package
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$1
python=$2
rounds=${NACELLE_DEMO_ROUNDS:-40}

work=$(mktemp -d "${TMPDIR:-/tmp}/nacelle-demo.XXXXXX")
sidecar=
cleanup() {
  [[ -z $sidecar ]] || { kill "$sidecar" 2>/dev/null || true; wait "$sidecar" 2>/dev/null || true; }
  rm -rf "$work"
}
trap cleanup EXIT

echo "1. A model for embeddings"
if minilm=$("$here/find_minilm.sh" "$python"); then
  embed=minilm
  echo "    all-MiniLM-L6-v2: $minilm"
else
  embed=sentiment
  echo "    all-MiniLM-L6-v2 could not be had: the small Korean model that ships with Nacelle embeds"
  echo "    instead. It has not learned English, so take the nearest sentences below with salt."
fi

echo
echo "2. The sidecar"
{
  echo "socket: $work/nacelle.sock"
  echo "control:"
  echo "  socket: $work/control.sock"
  echo "services:"
  echo "  sentiment: $(cd "$here/../data/nsmc-bert-ko" && pwd)"
  if [[ $embed == minilm ]]; then echo "  minilm: $minilm"; fi
} >"$work/nacelle.yaml"
sed 's/^/    /' "$work/nacelle.yaml"
# The caller's own NACELLE_ settings are not for this sidecar.
env -u NACELLE_SOCKET -u NACELLE_MODELS -u NACELLE_CONFIG "$build/bin/nacelled" --config="$work/nacelle.yaml" 2>"$work/log" &
sidecar=$!
export NACELLE_SOCKET=$work/nacelle.sock

echo
echo "3. Four application processes, at the same time"
# A client waits for a sidecar that is still starting, so nothing here does. Each application says on
# "done" when it has printed its part, and stays connected until "hold" ends.
mkfifo "$work/done" "$work/hold"
exec 8<>"$work/done" 9<>"$work/hold"
apps=()
start() { # NAME FIRST-REVIEW-TO-SHOW COMMAND...
  local name=$1 shown=$2; shift 2
  "$@" "$name" "$embed" "$here/reviews.txt" "$here/sentences.txt" "$rounds" "$shown" \
    <"$work/hold" >"$work/$name.out" 2>&1 3>&8 8<&- 9<&- &
  apps+=("$name:$!")
}
start web-1 0 "$build/bin/demo_app"
start web-2 4 "$build/bin/demo_app"
start worker-1 8 "$python" "$here/demo_app.py"
start worker-2 12 "$python" "$here/demo_app.py"
finished=0
while [[ $finished -lt ${#apps[@]} ]] && read -r -t 120 -u 8 _; do finished=$((finished + 1)); done
status=$("$build/bin/nacellectl" --socket="$work/control.sock" status) || status="(no answer)"
exec 9>&-
failed=0
for entry in "${apps[@]}"; do
  wait "${entry#*:}" || failed=1
  echo
  sed 's/^/    /' "$work/${entry%%:*}.out"
done
if [[ $failed -ne 0 ]]; then
  echo "demo: an application failed; the sidecar said:" >&2
  cat "$work/log" >&2
  exit 1
fi

echo
echo "4. nacellectl status, while they were connected"
sed 's/^/    /' <<<"$status"

echo
echo "5. SIGTERM: the sidecar drains and leaves"
kill -TERM "$sidecar"
wait "$sidecar" || { cat "$work/log" >&2; echo "demo: the sidecar did not leave well" >&2; exit 1; }
sidecar=
tail -n 2 "$work/log" | sed 's/^/    /'
