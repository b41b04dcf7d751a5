#!/usr/bin/env bash
# The one entry: builds, trains, serves and tests. It installs what is missing on a machine that has
# rustup and Node. Run it without arguments for its usage.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tools/setup.sh
source "$root/tools/setup.sh"
# shellcheck source=tools/test.sh
source "$root/tools/test.sh"
# shellcheck source=tools/federate.sh
source "$root/tools/federate.sh"
# shellcheck source=tools/gpu-kit/pack.sh
source "$root/tools/gpu-kit/pack.sh"

usage() {
  cat <<'USAGE'
usage: ./build.sh COMMAND [OPTIONS]

  train     fine-tune a model in headless Chromium and write the adapter, or the model where all weights are trained
              --engine browser|native  where the engine runs (default browser)
              --model DIR|FILE.gguf    a Hugging Face folder or a GGUF (default www/models/tiny)
              --data FILE              training rows (default www/data/faq.jsonl)
              --eval FILE              held-out rows (default: the bundled ones, or none)
              --config FILE.json       quantization, lora, train, init_adapter
              --out DIR                where the result and log.jsonl go (default out)
              --dtype DTYPE            f32 (default), bf16 or f16: what a model is written in whose weights were all trained
              --device DEVICE          webgpu (default), cpu or auto; cpu is faster where there is no real GPU
  export    write a model, with an adapter merged into it or beside it, as other programs read it
              --model DIR|FILE.gguf    what it is made of: a Hugging Face folder or a GGUF
              --adapter DIR            a PEFT adapter
              --format FORMAT          safetensors (a folder for transformers), gguf (for llama.cpp and Ollama) or
                                       lora-gguf (the adapter alone, for llama.cpp's --lora)
              --dtype DTYPE            f32, f16, bf16 or, with gguf, q8_0 (default the original's)
              --out PATH               the folder, or with gguf and lora-gguf the file, that is written
  serve     build the page and serve it: ./build.sh serve [PORT]
  federate  run federated rounds on this machine: Flower's SuperLink, the app on it, and the page and the proxy before it
              --terms FILE             the federation's terms (default federated/example/federation.json)
              --port N                 where clients come (default 8080)
              --out DIR                where the adapter, history.json and the state go (default out/federation)
              --init DIR               a PEFT adapter to begin with
              --resume                 go on from the state in --out
              --no-page                serve no page, which is then not built
              -- OPTIONS               for the proxy, as --host, --cert and --key
  test      run every test, or those of the parts that are named:
              ./build.sh test [rust|kernels|llama|package|federated|browser|firefox|webkit|docs ...]
  bench     measure: ./build.sh bench [kernels|ratios|step|generate|all] (default all)
              --engine browser|native  where the engine runs (default native)
              --device webgpu|cpu      what computes (default webgpu); cpu goes with step, generate, peer and products
              --workers N              the workers of --device cpu (default as many as the engine takes)
              --shape SHAPE            tiny, small, smollm2-135m (default), smollm2-360m, qwen2.5-0.5b,
                                       llama-1b, llama-3b or llama-2-7b
              --tokens M               rows of the kernels, or tokens of a step
              --base f32|nf4           how the base is held (default nf4)
              --checkpointing CHOICE   whether a step computes activations again: true, false, auto (default)
            ./build.sh bench adapter|ceilings|tiles|race tells what the adapter is, what it can do at most, which
              tiles agree with the plain twin on it, and which is fastest for each product of a shape
            ./build.sh bench loss [--tokens M] tells what the loss of so many labelled tokens takes at vocabularies of
              three sizes, in chunks and against the whole vocabulary at once
            ./build.sh bench ways [--way qlora|int8|mezo|dpo|full] does a step by each way to train and tells the memory it takes
            ./build.sh bench peer tiny|small [--engine …] [--base …] times the step that peers run
            ./build.sh bench products times dense and 4-bit products at the sizes that other libraries are compared at
            ./build.sh bench data [--rows N] imports, tokenises and re-opens so many rows in the browser
            ./build.sh bench memory [--rank N] saves and resumes a large adapter there, and tells the heap
            ./build.sh bench use [--minutes N] uses the page for so long (trains, chats, imports, switches, deletes), and tells
              what it and the browser's storage take
            ./build.sh bench federation [--clients N] [--rounds N] has so many simulated clients take part in rounds on this
              machine's SuperLink, and tells seconds, bytes and memory; with --loss two tabs learn together by each
              delta_dtype, with masks and with noise, and it tells the loss on held-out rows by round
  gpu-kit   pack out/gpu-kit: programs and scripts that test and measure a bare Linux machine's GPU (run.sh)
  package   pack the npm package into out/
  build     build the package and the page, and stop there
  docs      write docs/api from the package's declarations and comments
USAGE
}

# Binds MODULE.wasm to JavaScript: bind_wasm MODULE.wasm FOLDER NAME
bind_wasm() {
  (cd "$root" && cargo build --profile tools -p tabtune-bindgen)
  "$root/target/tools/tabtune-bindgen" "$@"
}

# Compiles for browsers: cargo_for_browsers FLAGS OPTIONS…, with rustc's flags in one text. What is shipped names no folder of
# the machine that built it.
cargo_for_browsers() {
  local flags sources
  need_wasm_target
  read -ra flags <<<"$1"
  shift
  (cd "$root" && cargo fetch --quiet --target wasm32-unknown-unknown)
  for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do flags+=("--remap-path-prefix=$sources="); done
  (cd "$root" && CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${flags[*]}") cargo build --target wasm32-unknown-unknown "$@")
}

# Compiles the engine to WebAssembly, binds and optimises it if it changed.
build_wasm() {
  cargo_for_browsers "" -p tabtune --profile release-wasm --lib
  local compiled="$root/target/wasm32-unknown-unknown/release-wasm/tabtune.wasm"
  local bound="$root/www/package/wasm"
  if [[ ! -f "$bound/tabtune_bg.wasm" || "$compiled" -nt "$bound/tabtune_bg.wasm" ]]; then
    echo "binding and optimising the WebAssembly module"
    local work="$root/target/bindgen"
    rm -rf "$work"
    bind_wasm "$compiled" "$work" tabtune
    # Only what rustc itself may emit; every browser with WebGPU has all of it. The kernels are not in here, so size goes
    # before speed. From -O2 on functions are inlined, which takes three times as long and makes the packed module 8 %
    # larger. Functions that are called often come first, because short numbers for them make it 1 % smaller.
    "$root/node_modules/.bin/wasm-opt" -O1 --duplicate-function-elimination --merge-similar-functions --reorder-functions \
      --enable-bulk-memory --enable-bulk-memory-opt \
      --enable-nontrapping-float-to-int --enable-sign-ext --enable-mutable-globals \
      --enable-reference-types --enable-multivalue --enable-call-indirect-overlong \
      "$work/tabtune_bg.wasm" -o "$work/optimised.wasm"
    mkdir -p "$bound"
    mv "$work/tabtune.js" "$work/tabtune.d.ts" "$bound/"
    # Moved last: its time stamp says that the others are there.
    touch "$work/optimised.wasm"
    mv "$work/optimised.wasm" "$bound/tabtune_bg.wasm"
  fi
}

# Compiles the kernels for processors to WebAssembly, once for each flavour of SIMD, if they changed.
build_cpu_modules() {
  local flavour
  for flavour in simd128 relaxed-simd; do
    local built="$root/target/cpu-$flavour"
    # Each flavour has a folder of its own, or Cargo would compile both anew each time. Rust's own library knows
    # nothing of atomics, which --no-check-features allows; www/package/cpu/kernels.ts has the same sizes. Reduced
    # loops would lose the constant offsets of their loads, and a third of their speed.
    cargo_for_browsers "-C target-feature=+atomics,+simd128$([[ $flavour != simd128 ]] && echo ",+$flavour") \
      -C llvm-args=-disable-lsr -C link-arg=--import-memory -C link-arg=--shared-memory -C link-arg=--no-check-features \
      -C link-arg=--initial-memory=1048576 -C link-arg=--max-memory=4294967296 -C link-arg=-zstack-size=131072 \
      -C link-arg=--export=__stack_pointer -C link-arg=--export=__heap_base" \
      -p tabtune-cpu-module --profile release-kernels --target-dir "$built"
    local compiled="$built/wasm32-unknown-unknown/release-kernels/tabtune_cpu_module.wasm"
    local bound="$root/www/package/wasm/kernels_${flavour//-/_}.wasm"
    if [[ ! -f "$bound" || "$compiled" -nt "$bound" ]]; then
      mkdir -p "$(dirname "$bound")"
      "$root/node_modules/.bin/wasm-opt" -O2 --enable-threads --enable-simd --enable-relaxed-simd --enable-bulk-memory \
        --enable-bulk-memory-opt --enable-nontrapping-float-to-int --enable-sign-ext --enable-mutable-globals \
        --enable-reference-types --enable-multivalue --enable-call-indirect-overlong "$compiled" -o "$built/optimised.wasm"
      mv "$built/optimised.wasm" "$bound"
    fi
  done
}

# Compiles the package's TypeScript to modules in build/, next to its WebAssembly, and bundles those
# into dist/, which is published.
build_package() {
  need_node_modules
  build_wasm
  build_cpu_modules
  local package="$root/www/package"
  rm -rf "$package/build"
  "$root/node_modules/.bin/tsc" -p "$package"
  cp -R "$package/wasm" "$package/build/"
  node "$root/tools/bundle.mjs"
  cp "$root/LICENSE" "$package/"
}

# Builds the page, with the bundled model and data beside it.
build_page() {
  build_package
  "$root/node_modules/.bin/tsc" --noEmit -p "$root/www/studio"
  (cd "$root/www/studio" && "$root/node_modules/.bin/vite" build --logLevel warn)
}

train() {
  local engine=browser args=()
  while (($# > 0)); do
    case $1 in
      --engine) engine=${2-} && shift ;;
      --engine=*) engine=${1#*=} ;;
      *) args+=("$1") ;;
    esac
    shift
  done
  # The arguments are relative to where the caller stands, so neither program runs from elsewhere.
  case $engine in
    browser)
      need_chromium
      build_package
      node "$root/tools/train.mjs" ${args[@]+"${args[@]}"}
      ;;
    native)
      need_native_adapter
      cargo run --release --manifest-path "$root/Cargo.toml" -p tabtune-train -- ${args[@]+"${args[@]}"}
      ;;
    *)
      echo "error[bad-option]: --engine must be browser or native, not \"$engine\"" >&2
      exit 1
      ;;
  esac
}

# Needs no adapter: nothing is computed on a GPU.
export_model() {
  need_linker
  cargo run --release --quiet --manifest-path "$root/Cargo.toml" -p tabtune-train -- export "$@"
}

# Compiles the benchmarks to WebAssembly and binds them.
build_bench_wasm() {
  cargo_for_browsers "" -p tabtune-bench --profile release-wasm --target-dir target --lib
  local compiled="$root/target/wasm32-unknown-unknown/release-wasm/tabtune_bench.wasm"
  local bound="$root/target/bench-wasm"
  if [[ ! "$bound/tabtune_bench_bg.wasm" -nt "$compiled" ]]; then
    bind_wasm "$compiled" "$bound" tabtune_bench
  fi
}

# Programs read what a benchmark prints, so everything else goes to standard error.
bench() {
  local engine=native args=()
  while (($# > 0)); do
    case $1 in
      --engine) engine=${2-} && shift ;;
      --engine=*) engine=${1#*=} ;;
      *) args+=("$1") ;;
    esac
    shift || true
  done
  if [[ ${args[0]-} == data || ${args[0]-} == memory || ${args[0]-} == federation || ${args[0]-} == use ]]; then
    need_chromium >&2
    if [[ ${args[0]} == federation ]]; then need_flower >&2; fi
    build_package >&2
    node "$root/tools/bench-${args[0]}.mjs" "${args[@]:1}"
    return
  fi
  case $engine in
    browser)
      need_chromium >&2
      # The processor is opened by the package.
      build_package >&2
      build_bench_wasm >&2
      node "$root/tools/bench.mjs" ${args[@]+"${args[@]}"}
      ;;
    native)
      need_native_adapter >&2
      cargo run --release --manifest-path "$root/Cargo.toml" -p tabtune-bench -- ${args[@]+"${args[@]}"}
      ;;
    *)
      echo "error[bad-option]: --engine must be browser or native, not \"$engine\"" >&2
      exit 1
      ;;
  esac
}

pack() {
  build_package
  mkdir -p "$root/out"
  (cd "$root/www/package" && npm pack --pack-destination "$root/out")
}

command=${1-}
shift || true
case $command in
  train) train "$@" ;;
  export) export_model "$@" ;;
  serve)
    build_page
    exec node "$root/tools/serve.mjs" "$@"
    ;;
  federate) federate "$@" ;;
  test) run_tests "$@" ;;
  bench) bench "$@" ;;
  gpu-kit) gpu_kit ;;
  package) pack ;;
  build) build_page ;;
  docs)
    need_node_modules
    node "$root/tools/api-pages.mjs"
    ;;
  -h | --help | help) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
