# Finds or installs what build.sh needs; sourced by it. Each need_* is quick when nothing is missing.

# Native adapters on Linux look for their socket directory here, and complain without it.
if [[ -z ${XDG_RUNTIME_DIR-} ]]; then
  XDG_RUNTIME_DIR="$root/target/runtime"
  mkdir -p "$XDG_RUNTIME_DIR"
  chmod 700 "$XDG_RUNTIME_DIR"
  export XDG_RUNTIME_DIR
fi

heading() {
  printf '\n== %s\n' "$1"
}

missing() {
  echo "error[io]: $1" >&2
  exit 1
}

# Installs Debian packages when that is possible, and says what to do when it is not.
need_packages() {
  local why=$1
  shift
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    missing "$why is missing; install it (on Debian: apt-get install $*) and run this again"
  fi
  echo "installing $*"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

need_linker() {
  command -v cc >/dev/null || need_packages "a C linker" gcc libc6-dev
}

need_wasm_target() {
  need_linker
  local lib
  lib=$(cd "$root" && rustc --print target-libdir --target wasm32-unknown-unknown)
  [[ -d $lib ]] || (cd "$root" && rustup target add wasm32-unknown-unknown)
}

need_node_modules() {
  local installed="$root/node_modules/.package-lock.json"
  if [[ ! -f $installed || "$root/package-lock.json" -nt $installed ]]; then
    (cd "$root" && npm ci && touch "$installed")
  fi
}

# Python 3.11 or newer that can make environments; its name is printed.
find_python() {
  local name
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$name"
      return
    fi
  done
  return 1
}

# Flower in an environment of its own, of the versions and hashes that federated/server/requirements.txt names.
need_flower() {
  local wanted="$root/federated/server/requirements.txt" environment="$root/target/flower" python
  cmp --silent "$wanted" "$environment/installed.txt" && return
  if ! find_python >/dev/null; then need_packages "Python 3.11 or newer with venv" python3 python3-venv; fi
  python=$(find_python) || missing "python3 is older than 3.11; install a newer one and run this again"
  echo "installing Flower into target/flower"
  [[ -x "$environment/bin/pip" ]] || "$python" -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$wanted"
  # Copied last: it says that all of it is there.
  cp "$wanted" "$environment/installed.txt"
}

need_chromium() {
  need_node_modules
  if ! node "$root/tools/lib/chromium.mjs" >/dev/null 2>&1; then
    need_packages "Chromium" chromium
    node "$root/tools/lib/chromium.mjs" >/dev/null
  fi
}

need_firefox() {
  need_node_modules
  # Its WebGPU runs on Vulkan.
  need_native_adapter
  if ! node "$root/tools/lib/firefox.mjs" >/dev/null 2>&1; then
    need_packages "Firefox" firefox-esr
    node "$root/tools/lib/firefox.mjs" >/dev/null
  fi
}

need_webkit() {
  need_node_modules
  if ! node "$root/tools/lib/webkit.mjs" >/dev/null 2>&1; then
    need_packages "WebKitGTK" webkit2gtk-driver xvfb
    node "$root/tools/lib/webkit.mjs" >/dev/null
  fi
}

# What makes the certificate of the servers that stand in for others in tests.
need_openssl() {
  command -v openssl >/dev/null || need_packages "openssl" openssl
}

# A Vulkan adapter for the native engine: the machine's own, or Mesa's on the CPU.
need_native_adapter() {
  need_linker
  [[ $(uname -s) == Linux ]] || return 0
  local folder
  for folder in /usr/share/vulkan/icd.d /etc/vulkan/icd.d; do
    if compgen -G "$folder/*.json" >/dev/null && PATH="$PATH:/usr/sbin:/sbin" ldconfig -p | grep libvulkan.so.1 >/dev/null; then return 0; fi
  done
  need_packages "a Vulkan driver" mesa-vulkan-drivers libvulkan1
}
