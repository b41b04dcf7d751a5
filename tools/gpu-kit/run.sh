#!/usr/bin/env bash
# Tests and measures tabtune on this machine's GPU, in order of worth, within the minutes given. Needs bash 5,
# glibc and a Vulkan driver. What each part found is on disk as soon as the part has ended.
set -u

usage() {
  cat <<'USAGE'
usage: ./run.sh [MINUTES] [OPTIONS]

  MINUTES          what the run may take, such as 10 (default) or 2.5
  --out DIR        where results go (default results-DATE-TIME beside this script)
  --shapes LIST    the models' sizes, with commas (default smollm2-135m,qwen2.5-0.5b,llama-1b; tiny is quick)
  --tokens M       tokens of a step and rows of the kernels (default 512 and 1024)
  --only LIST      these parts alone, with commas: kernels, tiles, parity, race, ceilings, step, timings, generate,
                   torch, dense, kept (default all, in this order)
  --python PROGRAM a Python that has torch (default: python3 or python, where one has)
USAGE
}

refuse() {
  echo "error: $1" >&2
  exit 1
}

kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
minutes=10 out='' shapes=smollm2-135m,qwen2.5-0.5b,llama-1b tokens='' only='' python=''
while (($# > 0)); do
  case $1 in
    --out) out=${2-} && shift ;;
    --shapes) shapes=${2-} && shift ;;
    --tokens) tokens=${2-} && shift ;;
    --only) only=${2-} && shift ;;
    --python) python=${2-} && shift ;;
    -h | --help) usage && exit 0 ;;
    *) minutes=$1 ;;
  esac
  shift || refuse "an option wants a value; ./run.sh --help lists them"
done
[[ $minutes =~ ^([0-9]+)(\.([0-9]))?$ ]] || refuse "MINUTES is \"$minutes\", but must be a number such as 10 or 2.5"
minutes=$((10#${BASH_REMATCH[1]}))${BASH_REMATCH[2]}
whole_seconds=$((10#${BASH_REMATCH[1]} * 60 + 6 * ${BASH_REMATCH[3]:-0}))
deadline=$((SECONDS + whole_seconds))
# Parts run in the kit's folder, so a path is made absolute; a link in an environment of Python's stays one.
pythons=(python3 python)
[[ -z $python ]] || pythons=("$python")
[[ $python != */* || $python == /* ]] || pythons=("$PWD/$python")
IFS=, read -ra shapes <<<"$shapes"
size=()
[[ -z $tokens ]] || size=(--tokens "$tokens")

# Whether version $1 is at least version $2.
at_least() {
  [[ $(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]
}

machine=$(uname -m)
[[ $machine == x86_64 ]] || refuse "this kit's programs are for x86_64, and this machine is $machine"
needed=$(cat "$kit/glibc")
found=$(getconf GNU_LIBC_VERSION 2>/dev/null || echo none)
[[ $found == glibc* ]] && at_least "${found#glibc }" "$needed" || refuse "this kit needs glibc $needed or later (Debian 12, Ubuntu 22.04), and here is ${found/none/none, perhaps another C library}"

out=${out:-$kit/results-$(date -u +%Y%m%d-%H%M%S)}
mkdir -p "$out/scratch" || refuse "$out cannot be made"
out=$(cd "$out" && pwd)
[[ -z $(compgen -G "$out/[0-9]*") ]] || refuse "$out has results already; name another folder with --out"
cp "$kit/kit.json" "$out/kit.json"

# Drivers keep sockets and compiled shaders somewhere, and complain or compile again where there is nothing.
mkdir -p -m 700 "$out/scratch/runtime"
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$out/scratch/runtime} TMPDIR="$out/scratch"
export MESA_SHADER_CACHE_DIR=${MESA_SHADER_CACHE_DIR:-$out/scratch/shaders}
export __GL_SHADER_DISK_CACHE=1 __GL_SHADER_DISK_CACHE_PATH=${__GL_SHADER_DISK_CACHE_PATH:-$out/scratch}

has_library() {
  PATH="$PATH:/usr/sbin:/sbin" ldconfig -p 2>/dev/null | grep -q "$1"
}

# The loader finds drivers, and a driver may be there without a loader: then the kit's own does.
if ! has_library 'libvulkan\.so\.1 '; then
  export LD_LIBRARY_PATH="$kit/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
  echo "no Vulkan loader here: the kit's own is used"
fi
# Containers have NVIDIA's driver in places of their own, or its library without the file that names it.
if [[ -z ${VK_DRIVER_FILES-}${VK_ICD_FILENAMES-} ]] &&
  ! compgen -G '/usr/share/vulkan/icd.d/*nvidia*.json' >/dev/null && ! compgen -G '/etc/vulkan/icd.d/*nvidia*.json' >/dev/null; then
  for file in /usr/local/nvidia/share/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json; do
    [[ -f $file ]] && VK_DRIVER_FILES=$file && break
  done
  if [[ -z ${VK_DRIVER_FILES-} ]] && has_library libGLX_nvidia.so.0; then
    VK_DRIVER_FILES=$out/scratch/nvidia_icd.json
    echo '{"file_format_version":"1.0.0","ICD":{"library_path":"libGLX_nvidia.so.0","api_version":"1.3.0"}}' \
      >"$VK_DRIVER_FILES"
  fi
  # Loaders before 1.3.207 know the second name only.
  [[ -z ${VK_DRIVER_FILES-} ]] || export VK_DRIVER_FILES VK_ICD_FILENAMES=$VK_DRIVER_FILES
fi

# The text as JSON has it, without what would end it.
quoted() {
  printf '"%s"' "$(tr -d '"\\\000-\037' <<<"$1")"
}

processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
card=$(timeout 20 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null | head -n 1)
printf '{"date":"%s","minutes":%s,"machine":%s,"nvidia_smi":%s}\n' "$(date -u '+%Y-%m-%d %H:%M UTC')" "$minutes" \
  "$(quoted "$(nproc) × ${processor:-unknown processor}, Linux $(uname -r)")" "$(quoted "$card")" >"$out/run.json"

number=0 child='' file='' part='' limit=0 began=0

# Writes how a part ended, and the tables anew: record STATUS EXIT SECONDS
record() {
  printf '{"part":"%s","status":"%s","exit":%d,"seconds":%d,"limit":%d}\n' "$part" "$1" "$2" "$3" "$limit" \
    >"$file.making" && mv "$file.making" "$file.json"
  "$kit/bin/tabtune-bench" table "$out" || true
  printf '%-28s %s\n' "$part" "$1 ($3 s)"
}

end_child() {
  kill -"$1" -- "-$child" 2>/dev/null
}

# Whether part $1, such as step-tiny, is among those asked for.
is_wanted() {
  [[ -z $only || ,adapter,$only, == *,"${1%%[-+]*}",* ]]
}

# Runs one part and records how it ended, whatever becomes of it: part NAME LEAST MOST COMMAND...
# A part with less than LEAST seconds left is skipped; one that takes more than MOST, than a third of the whole, or
# than is left, is ended.
part() {
  is_wanted "$1" || return 0
  part=$1
  local least=$2 most=$3 left=$((deadline - SECONDS)) code=0 status=done
  shift 3
  number=$((number + 1))
  printf -v file '%s/%02d-%s' "$out" "$number" "$part"
  limit=$((most < whole_seconds / 3 ? most : whole_seconds / 3))
  limit=$((left < limit ? left : limit))
  if ((left < least)); then
    limit=$least
    record skipped 0 0
    return
  fi
  began=$SECONDS
  # A group of its own can be ended as a whole.
  (cd "$kit" && exec setsid "$@") >"$file.out" 2>"$file.log" </dev/null &
  child=$!
  while kill -0 "$child" 2>/dev/null; do
    local taken=$((SECONDS - began))
    if ((taken >= limit + 6)); then
      # A process that waits in its driver is not even ended by KILL, and must not be waited for.
      status=stuck && break
    elif ((taken >= limit + 3)); then
      end_child KILL
    elif ((taken >= limit)); then
      status=cut && end_child TERM
    fi
    sleep 0.1
  done
  if [[ $status == stuck ]]; then
    disown "$child"
  else
    wait "$child" 2>/dev/null
    code=$?
    [[ $status == cut || $code == 0 ]] || status=failed
  fi
  child=''
  record "$status" "$code" $((SECONDS - began))
}

# Who ends the run has what was found until then.
stop() {
  trap - INT TERM HUP
  if [[ -n $child ]]; then
    end_child KILL
    wait "$child" 2>/dev/null
    record cut 137 $((SECONDS - began))
  fi
  echo "stopped; what was found is in $out"
  exit 130
}
trap stop INT TERM HUP

# Runs a test program with the options that are given, and then for a minute each test that it said nothing of, because it
# crashed or hung, by itself: tests NAME LEAST MOST OPTIONS... They read their files from where Cargo would run them.
tests() {
  local name=$1 least=$2 most=$3 program=(env -C "$kit/tests" "$kit/bin/$1") test until
  is_wanted "$name" || return 0
  shift 3
  part "$name" "$least" "$most" "${program[@]}" --show-output "$@"
  [[ -f $file.out ]] || return 0
  local printed=$file.out
  until=$((SECONDS + 60))
  while read -r test; do
    test=${test%: test}
    ((SECONDS < until && SECONDS + 5 <= deadline)) || break
    grep -q "^test $test \.\.\. [oFi]" "$printed" || part "$name+${test//::/.}" 5 30 "${program[@]}" --exact "$test" --show-output
  done < <("${program[@]}" --list --format terse "$@" 2>/dev/null)
}

bench="$kit/bin/tabtune-bench"
# Of each shape in turn: each PART LEAST MOST COMMAND..., where SHAPE stands for the shape.
each() {
  local name=$1 least=$2 most=$3 shape
  shift 3
  for shape in "${shapes[@]}"; do
    part "$name-$shape" "$least" "$most" "${@/#SHAPE/$shape}"
  done
}

part adapter 1 60 "$bench" adapter
if ! grep -q '"bench":"adapter"' "$file.out" 2>/dev/null; then
  cat "$file.log" >&2
  refuse "no Vulkan adapter answers; name its driver's file with VK_DRIVER_FILES=/path/to/icd.json"
fi
if grep -q '"is_software":true' "$file.out"; then
  echo "note: the adapter computes on the CPU${card:+, though nvidia-smi knows $card: its Vulkan driver was not found}"
fi

tests kernels 2 180
part tiles 5 90 "$bench" tiles
# Many steps on the processor tell nothing of the GPU.
tests parity 5 150 --skip five_hundred_steps
each race 5 45 "$bench" race --shape SHAPE
part ceilings 3 30 "$bench" ceilings
each step 10 120 "$bench" step --shape SHAPE "${size[@]}"
each timings 10 90 "$bench" kernels --shape SHAPE "${size[@]}"
each generate 10 60 "$bench" generate --shape SHAPE

for candidate in "${pythons[@]}"; do
  if "$candidate" -c 'import importlib.util as i, sys; sys.exit(i.find_spec("torch") is None)' 2>/dev/null; then
    each torch 15 120 "$candidate" "$kit/lora_step.py" "$kit/shapes.json" SHAPE "${size[@]}"
    torch=yes
    break
  fi
done
[[ -n ${torch-} ]] || ! is_wanted torch || echo "no Python with torch here: PyTorch's step is left out"

# What the comparison with PyTorch in f32 asks for, and what recompute costs where it was chosen.
each dense 10 90 "$bench" step --base f32 --shape SHAPE "${size[@]}"
each kept 10 90 "$bench" step --checkpointing false --shape SHAPE "${size[@]}"

rm -rf "$out/scratch"
echo
cat "$out/table.md"
echo
echo "the tables are in $out/table.md, all figures in $out/results.json"
