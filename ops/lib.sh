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
  libxxhash-dev libsystemd-dev
  libonnx-dev prometheus-cpp-dev zlib1g-dev
  nginx openssl curl
)
# What the tests need besides.
test_packages=(
  libgtest-dev libgmock-dev python3 python3-numpy python3-pil python3-grpcio python3-protobuf clang-format
  shellcheck python3-jsonschema python3-requests python3-selenium chromium chromium-driver
)
# What fuzzing needs besides: libFuzzer and the sanitizers are clang's.
fuzz_packages=(clang libclang-rt-dev)

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }

fail() {
  printf 'inferpool: %s\n' "$*" >&2
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

# The pid in a file of the state folder, when that process lives; nothing otherwise.
living_pid() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && echo "$pid"
  return 0
}

# wait_gone PID SECONDS: false when the process is still there after that.
wait_gone() {
  local tenths=$(($2 * 10))
  while kill -0 "$1" 2>/dev/null; do
    tenths=$((tenths - 1))
    [ "$tenths" -gt 0 ] || return 1
    sleep 0.1
  done
}

# stop_instance STATE: nginx first, so that nothing new comes; then the pool, which drains.
stop_instance() {
  local state=$1 pid
  pid=$(living_pid "$state/nginx.pid")
  if [ -n "$pid" ]; then
    say "Stopping nginx"
    kill -QUIT "$pid" 2>/dev/null || true
    wait_gone "$pid" 60 || kill -TERM "$pid" 2>/dev/null || true
  fi
  pid=$(living_pid "$state/inferpool.pid")
  if [ -n "$pid" ]; then
    say "Draining the pool"
    kill -TERM "$pid" 2>/dev/null || true
    # It kills what does not drain within timeouts.drain_s, so it ends by itself.
    wait_gone "$pid" 3700 || fail "the pool (pid $pid) does not stop"
  fi
  rm -f "$state/nginx.pid" "$state/inferpool.pid"
}
