# Starts a federation on this machine, and stops it again: Flower's SuperLink, the app on it, and the proxy before both.
# Sourced by build.sh.

# A port of this machine that nothing listens on.
free_port() {
  node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })'
}

# Waits until a program of ours says that it listens, since someone else may listen there: wait_until_told TEXT LOG PID NAME
wait_until_told() {
  local tries
  for ((tries = 0; tries < 300; tries++)); do
    if grep -q "$1" "$2"; then return 0; fi
    kill -0 "$3" 2>/dev/null || break
    sleep 0.2
  done
  tail -n 20 "$2" >&2
  missing "$4 did not start; what it said last is above"
}

# Stops what was started, each with its process group. The app is in a group of its own: it ends by itself once it misses
# the SuperLink's process that started it.
stop_federation() {
  local pid
  for pid in "${federation_pids[@]}"; do kill -- "-$pid" 2>/dev/null || true; done
  for pid in "${federation_pids[@]}"; do
    wait "$pid" 2>/dev/null || true
    kill -KILL -- "-$pid" 2>/dev/null || true
  done
}

# Starts a program in a process group of its own, so that Ctrl-C reaches it through stop_federation alone.
in_group() {
  set -m
  "$@" </dev/null &
  set +m
  federation_pids+=($!)
}

absolute() {
  node -e 'process.stdout.write(require("path").resolve(process.argv[1]))' "$1"
}

# A text as TOML and JSON write it.
quoted() {
  node -e 'process.stdout.write(JSON.stringify(process.argv[1]))' "$1"
}

federate() {
  local terms="$root/federated/example/federation.json" port=8080 out="out/federation" init="" resume=false page=yes
  while (($# > 0)); do
    case $1 in
      --terms) terms=${2-} && shift ;;
      --port) port=${2-} && shift ;;
      --out) out=${2-} && shift ;;
      --init) init=$(absolute "${2-}") && shift ;;
      --resume) resume=true ;;
      --no-page) page= ;;
      --) shift && break ;;
      *)
        echo "error[bad-option]: federate takes --terms, --port, --out, --init, --resume, --no-page and, after --, options of the proxy, not \"$1\"" >&2
        exit 2
        ;;
    esac
    shift || true
  done
  terms=$(absolute "$terms")
  out=$(absolute "$out")
  need_flower
  local proxy=(--terms "$terms" --port "$port")
  if [[ -n $page ]]; then
    build_page
    proxy+=(--page "$root/www/dist")
  fi

  local home="$root/target/federate" flower="$root/target/flower/bin" superlink run status
  superlink=$(free_port)
  mkdir -p "$home" "$out"
  chmod 700 "$home"
  printf '[superlink]\ndefault = "local"\n[superlink.local]\naddress = "127.0.0.1:%s"\ninsecure = true\n' "$superlink" >"$home/config.toml"
  export FLWR_HOME="$home" FLWR_TELEMETRY_ENABLED=0 FLWR_DISABLE_UPDATE_CHECK=1
  local PATH="$flower:$PATH"

  federation_pids=()
  trap stop_federation EXIT
  trap 'exit 130' INT TERM
  # Its other interfaces have no lock at all, so only this machine reaches it, and clients by the proxy.
  in_group flower-superlink --insecure --host 127.0.0.1 --port "$superlink" \
    --disable-runtime-dependency-installation >"$home/superlink.log" 2>&1
  wait_until_told "Uvicorn running" "$home/superlink.log" "${federation_pids[0]}" "the SuperLink"
  in_group node "$root/federated/proxy/main.mjs" "${proxy[@]}" --superlink "http://127.0.0.1:$superlink" "$@" \
    >"$home/proxy.log" 2>&1
  wait_until_told " is at http" "$home/proxy.log" "${federation_pids[1]}" "the proxy"
  cat "$home/proxy.log"

  run=$(flwr run "$root/federated/server" local --format json \
    --run-config "terms=$(quoted "$terms") out=$(quoted "$out") init=$(quoted "$init") resume=$resume" | json_field run-id)
  [[ -z $page ]] || echo "open http://127.0.0.1:$port (Ctrl-C stops the federation; --resume goes on with it)"
  # A signal ends a wait at once, but not a program that runs in the foreground.
  in_group flwr log "$run" local --stream
  wait "${federation_pids[2]}" || true
  status=$(flwr list local --run-id "$run" --format json | json_field runs.0.status)
  if [[ $status != finished:completed ]]; then missing "the run ended as $status; the log above says why"; fi
  echo "the adapter is in $out"
}

# A field of the JSON on standard input: json_field runs.0.status
json_field() {
  node -e '
    const value = JSON.parse(require("fs").readFileSync(0, "utf8"));
    const found = process.argv[1].split(".").reduce((part, name) => part?.[name], value);
    if (found === undefined) { console.error(JSON.stringify(value)); process.exit(1); }
    console.log(String(found));' "$1"
}
