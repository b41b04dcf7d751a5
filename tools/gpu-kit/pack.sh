# `./build.sh gpu-kit`; sourced by it. What it packs runs on machines without Rust and Node.

# What a GPU kit may take, so that it travels to machines that are lent for minutes.
GPU_KIT_MOST_MEGABYTES=60

gpu_kit() {
  [[ "$(uname -s) $(uname -m)" == "Linux x86_64" ]] || missing "a GPU kit is packed on x86-64 Linux"
  need_native_adapter
  local kit="$root/out/gpu-kit" programs program name loader needed megabytes commit
  cd "$root"
  programs=$(cargo build --release --message-format json-render-diagnostics -p tabtune --test kernels -p tabtune-tests --test parity \
    -p tabtune-bench --bin tabtune-bench | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
  rm -rf "$kit"
  mkdir -p "$kit/bin" "$kit/lib"
  for program in $programs; do
    name=$(basename "$program")
    # Test programs carry a hash in their names.
    strip -o "$kit/bin/${name%-????????????????}" "$program"
  done
  # What the parity tests read.
  cp -R --parents tests/fixtures/{models,families,bases,ways,preferences} www/models/tiny "$kit/"
  cp tools/gpu-kit/run.sh tools/gpu-kit/lora_step.py LICENSE "$kit/"
  "$kit/bin/tabtune-bench" shapes >"$kit/shapes.json"
  # A machine may have a driver and no loader. The loader's licence is Apache 2.0, with a file under MIT's.
  loader=$(PATH="$PATH:/usr/sbin:/sbin" ldconfig -p | sed -n 's/.*libvulkan\.so\.1 (libc6,x86-64).* => //p' | head -n 1)
  cp -L "$loader" "$kit/lib/libvulkan.so.1"
  [[ ! -f /usr/share/doc/libvulkan1/copyright ]] || cp /usr/share/doc/libvulkan1/copyright "$kit/lib/libvulkan.copyright"
  needed=$(objdump -T "$kit"/bin/* "$kit"/lib/*.so* | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
  echo "${needed#GLIBC_}" >"$kit/glibc"
  commit=$(git describe --always --dirty --exclude '*' 2>/dev/null || echo unknown)
  printf '{"commit":"%s","built":"%s","glibc":"%s"}\n' "$commit" "$(date -u +%Y-%m-%d)" "${needed#GLIBC_}" >"$kit/kit.json"
  megabytes=$(du -sm --apparent-size "$kit" | cut -f 1)
  ((megabytes <= GPU_KIT_MOST_MEGABYTES)) ||
    missing "the GPU kit takes $megabytes MB, and may take $GPU_KIT_MOST_MEGABYTES: see which of $kit/bin/* grew"
  echo "packed out/gpu-kit: $megabytes MB, for glibc ${needed#GLIBC_} and later; on the machine: ./run.sh [MINUTES]"
}
