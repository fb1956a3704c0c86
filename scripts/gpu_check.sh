#!/usr/bin/env bash
# scripts/gpu_check.sh OUT: on a GPU machine without Node, builds the CUDA device for sm_90a, checks it against the CPU,
# runs it under compute-sanitizer, and times it, beside PyTorch where that is. Every stage has a time limit, under 9
# minutes in all; its output is in OUT/STAGE.txt. GPU_ARCH=80-real for an A100. The last lines are the summary; the exit
# status is 1 if a stage failed.
set -uo pipefail
out=${1:?usage: scripts/gpu_check.sh OUT}
mkdir -p "$out" || exit 2
out=$(cd "$out" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
build=${BUILD:-build/check}
program=$build/Release/verdant_cuda_check
begin=$SECONDS
whole=530
failed=0
summary=()

# stage NAME SECONDS COMMAND...: one line of the summary.
stage() {
  local name=$1 limit=$2 start=$SECONDS status
  shift 2
  local left=$((whole - (SECONDS - begin)))
  ((limit > left)) && limit=$left
  if ((limit < 5)); then
    failed=1
    summary+=("NO TIME  $name")
    return 1
  fi
  timeout --kill-after=5 "$limit" "$@" >"$out/$name.txt" 2>&1
  status=$?
  local word=ok
  if ((status != 0)); then
    failed=1
    word=FAILED
    ((status == 124 || status == 137)) && word="TIMED OUT"
  fi
  summary+=("$(printf '%-9s %s, %d s, exit %d: %s' "$word" "$name" $((SECONDS - start)) "$status" "$(tail -n 1 "$out/$name.txt" | cut -c 1-160)")")
  return "$status"
}

# skip NAME WHY
skip() { summary+=("skipped   $1: $2"); }

finish() {
  echo "--- figures"
  grep -hE '^(time|ceiling|rival|missing|FAILED)' "$out"/{check*,time*,rival*}.txt 2>/dev/null
  echo "--- stages, $((SECONDS - begin)) s in all"
  printf '%s\n' "${summary[@]}"
  exit "$failed"
}

machine() {
  nvidia-smi || true
  nvcc --version
  cmake --version
  nproc
  git rev-parse HEAD || true
}

configure() {
  local options=(-DCMAKE_BUILD_TYPE=Release "-DVERDANT_CUDA_ARCHITECTURES=${GPU_ARCH:-90a-real}") header library
  command -v nvcc >/dev/null || export PATH=$PATH:/usr/local/cuda/bin
  command -v ninja >/dev/null && options+=(-G Ninja)
  # cuBLASLt may have come with Python packages: the library beside the header that was found.
  for header in /usr/local/cuda/include/cublasLt.h $(find /opt /usr/lib /usr/local /root /home -name cublasLt.h 2>/dev/null); do
    for library in "${header%/include/*}"/{lib64,lib}/libcublasLt.so*; do
      [ -e "$header" ] && [ -e "$library" ] || continue
      options+=("-DVERDANT_CUBLASLT=$library" "-DVERDANT_CUBLASLT_INCLUDE=${header%/*}")
      break 2
    done
  done
  cmake -S native/cuda -B "$build" "${options[@]}"
}

# Without cuBLASLt where its header does not fit the compiler.
compile() {
  local make=(cmake --build "$build" --target verdant_cuda_check --parallel "$(nproc)")
  "${make[@]}" || { cmake -DVERDANT_CUBLASLT= "$build" && "${make[@]}"; }
}

# The decoders of time-1b, each kernel after the end of the one before.
one_by_one() {
  set -o pipefail
  VERDANT_CUDA_DEPENDENT_LAUNCH=0 "$program" time llama-3.2-1b | sed 's/^time \+/&one by one: /'
}
export build program
export -f machine configure compile one_by_one

command -v nvcc >/dev/null || export PATH=$PATH:/usr/local/cuda/bin
stage machine 20 bash -c machine
stage configure 60 bash -c configure || finish
stage compile 240 bash -c compile || finish
if ! stage check 120 "$program" --names; then
  stage check-one-by-one 60 env VERDANT_CUDA_DEPENDENT_LAUNCH=0 "$program" --names
  # Where it hung or broke off, and does not so without Hopper's kernels, the rest goes on without them.
  if stage check-portable 90 env VERDANT_CUDA_KERNELS=portable "$program" --names &&
    { grep -q 'the device is lost' "$out/check.txt" || ! tail -n 1 "$out/check.txt" | grep -q '^[0-9]* cases'; }; then
    export VERDANT_CUDA_KERNELS=portable
  fi
fi
if command -v compute-sanitizer >/dev/null; then
  # The timings need a minute and a half.
  parts=2
  for tool in memcheck racecheck; do
    limit=$(((whole - (SECONDS - begin) - 100) / parts))
    ((limit > 75)) && limit=75
    parts=1
    if ((limit < 15)); then
      skip "$tool" "no time is left for it"
    else
      stage "$tool" "$limit" compute-sanitizer --tool "$tool" --error-exitcode 9 "$program" --names --small
    fi
  done
else
  skip sanitizer "compute-sanitizer is not here"
fi
stage time-1b 60 "$program" time llama-3.2-1b
stage time-8b 120 "$program" time llama-3.1-8b
if ! python3 -c 'import torch' 2>/dev/null; then
  skip rival "PyTorch is not here"
elif ((whole - (SECONDS - begin) >= 60)); then
  stage rival 60 python3 bench/rival_torch_cuda.py
else
  skip rival "no time is left for it"
fi
stage time-more 40 "$program" time more
if ((whole - (SECONDS - begin) >= 60)); then
  stage time-one-by-one 60 bash -c one_by_one
else
  skip time-one-by-one "no time is left for it"
fi
finish
