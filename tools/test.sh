# The parts of `./build.sh test`; sourced by it.

# Each part with the seconds that it may take on two idle cores, in a run of all from a fresh clone: what a part needs that
# another one made before it, or beside it, counts where it is made.
TEST_PARTS=(rust kernels llama package federated browser firefox webkit docs)
declare -A TEST_SECONDS=([rust]=780 [kernels]=160 [llama]=30 [package]=100 [federated]=230 [browser]=600 [firefox]=240 [webkit]=40 [docs]=120)

# Whether nextest is there, which runs the tests of all files side by side.
has_nextest() {
  cargo nextest --version >/dev/null 2>&1
}

# Compiles with the lints on, so that no crate is compiled once for them and once more for the tests. The settings are
# those of `cargo clippy -- -D warnings`.
linted() {
  RUSTC_WORKSPACE_WRAPPER=clippy-driver CLIPPY_ARGS="-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__" "$@"
}

# A kernel's test runs each of its variants a few times, so optimising them takes Mesa longer than it saves; runs of models
# it saves more. Mesa's cache does not tell the two apart.
hastily() {
  env GALLIVM_PERF=nopt MESA_SHADER_CACHE_DIR="$root/target/mesa-hasty" "$@"
}

# Of the other tests these do a few steps in many variants, so they run beside those of the kernels.
hasty='binary(kernels) or package(tabtune-tests) and (test(=tune::every_variant_agrees_with_the_twin)
  or test(/^((families|bases)::)?every_gradient_of_step_one_is_that_of_pytorch$/) or test(/^bases::ten_steps_/))'

# Runs the engine's tests natively: rust_tests kernels, or rust_tests rust for all others.
rust_tests() {
  need_native_adapter
  local filter=$hasty how=hastily
  if [[ $1 != kernels ]]; then
    filter="not package(tabtune-bench) and not ($hasty)"
    how=
  fi
  if has_nextest; then
    linted $how cargo nextest run --no-fail-fast -E "$filter"
    return
  fi
  if [[ $1 == kernels ]]; then
    linted $how cargo test -p tabtune --test kernels
  else
    linted cargo test -p tabtune --lib $(sed -n '/^\[\[test/,$s/^name = "\(.*\)"/--test \1/p' Cargo.toml | grep -v kernels)
    linted cargo test -p tabtune-tests -p tabtune-train -p tabtune-cpu
  fi
}

test_rust() {
  heading "format and lints"
  cargo fmt --all --check
  need_wasm_target
  need_native_adapter
  # What later parts need is built where this one leaves a core idle: at the ends of crates that all others wait for, and
  # where shaders are compiled by one core at a time.
  if runs package federated browser firefox webkit docs; then
    beside page page_with_browser
  fi
  # What the tests run is compiled with the lints here.
  if has_nextest; then linted cargo nextest run --no-run; else linted cargo test --no-run; fi
  # What is shipped is not compiled so: Clippy optimises less, and the modules of kernels would be 2 % larger.
  cargo clippy --lib --target wasm32-unknown-unknown -- -D warnings
  heading "Rust"
  rust_tests rust
  linted cargo test --doc
}

test_kernels() {
  heading "kernels"
  rust_tests kernels
  # The bench holds kernels to one another's speed, so nothing else may run.
  [[ -z ${beside[page]-} ]] || wait "${beside[page]}" || true
  if has_nextest; then linted cargo nextest run -E 'package(tabtune-bench)'; else linted cargo test -p tabtune-bench; fi
}

# Exports are loaded by llama.cpp.
test_llama() {
  need_node_modules
  need_linker
  heading "llama.cpp"
  # With a test beside it its dependencies are what they are for tests, so the engine is not compiled once more.
  linted cargo build --bin tabtune-train --test tree
  node_tests tests/llama/*.test.mjs
}

# Whether any of these parts is run: runs PART…
runs() {
  local part
  for part; do [[ " ${parts[*]} " != *" $part "* ]] || return 0; done
  return 1
}

# What runs beside the rest, by name.
declare -A beside=()

# Runs a command while something else runs that leaves a core to it: beside NAME COMMAND…
beside() {
  local name=$1
  shift
  mkdir -p "$root/target"
  "$@" >"$root/target/$name.log" 2>&1 &
  beside[$name]=$!
}

# Waits for it, and tells what it said.
joined() {
  local failed=
  wait "${beside[$1]}" || failed=yes
  cat "$root/target/$1.log"
  [[ -z $failed ]]
}

page_with_browser() {
  need_chromium
  build_page
}

# Builds the page once for all parts that need it, or waits until it is built.
need_page() {
  [[ -n ${page_is_built-} ]] && return
  heading "package and page"
  if [[ -n ${beside[page]-} ]]; then joined page; else page_with_browser; fi
  page_is_built=yes
}

# Runs the files of a part, two at a time: one waits for its GPU process while the other computes. What hangs is told by its
# name after a quarter of an hour.
node_tests() {
  node --test --test-concurrency="${at_once:-2}" --test-timeout=900000 --test-reporter=./tools/lib/reporter.mjs "$@"
}

# What the code of the guides needs: one joins a federation, and hubs are stood in for over TLS.
need_guides() {
  need_flower
  need_openssl
}

server_tests() {
  (cd federated/server && "$root/target/flower/bin/python" -m unittest discover -s tests)
}

test_package() {
  need_page
  heading "package and packaging"
  # Parts to come need it, and it waits for the network and for one core.
  if runs federated firefox webkit docs; then beside flower need_flower; fi
  beside packaging node_tests tests/packaging/*.test.mjs
  node_tests tests/package/*.test.mjs
  joined packaging
  [[ -z ${beside[flower]-} ]] || joined flower
}

# Rounds on a SuperLink of this machine: the proxy, the server's app, and tabs that take part.
test_federated() {
  need_page
  need_flower
  heading "federated"
  beside server server_tests
  # Clients and servers wait for one another most of the time.
  at_once=4 node_tests federated/proxy/tests/*.test.mjs tests/federated/*.test.mjs
  joined server
}

test_browser() {
  need_page
  heading "browser"
  node_tests tests/browser/*.test.mjs
}

test_firefox() {
  need_page
  need_firefox
  need_guides
  # Either of the two leaves a core idle for almost half of its time.
  if runs webkit; then
    need_webkit
    beside webkit webkit_tests
  fi
  heading "Firefox"
  node_tests tests/firefox/*.test.mjs
}

# Its files one after another, which takes no longer.
webkit_tests() {
  at_once=1 node_tests tests/webkit/*.test.mjs
}

test_webkit() {
  need_page
  need_webkit
  need_guides
  heading "WebKitGTK"
  if [[ -n ${beside[webkit]-} ]]; then joined webkit; else webkit_tests; fi
}

test_docs() {
  need_page
  need_guides
  heading "guides"
  node_tests tests/docs/*.test.mjs
}

# Runs the parts that are named, or all, and tells what each took.
run_tests() {
  local part began took summary=
  local parts=("$@")
  ((${#parts[@]} > 0)) || parts=("${TEST_PARTS[@]}")
  for part in "${parts[@]}"; do
    if [[ -z ${TEST_SECONDS[$part]-} ]]; then
      echo "error[bad-option]: no part of the tests is called \"$part\"; there are ${TEST_PARTS[*]}" >&2
      exit 2
    fi
  done
  cd "$root"
  # What rustc keeps to compile less the next time costs a quarter of the time of the first one.
  # Cargo makes its folder in any case.
  compgen -G "target/debug/incremental/*" >/dev/null || export CARGO_INCREMENTAL=0
  # A run that ends early leaves nothing behind that goes on.
  trap 'kill -- "${beside[@]}" 2>/dev/null || true' EXIT
  for part in "${parts[@]}"; do
    began=$SECONDS
    "test_$part"
    took=$((SECONDS - began))
    summary+=$(printf '%-9s %5d s of %5d s%s' "$part" "$took" "${TEST_SECONDS[$part]}" "$( ((took <= TEST_SECONDS[$part])) || echo ", over its budget")")$'\n'
  done
  heading "seconds of each part, and its budget on two idle cores"
  printf '%s' "$summary"
}
