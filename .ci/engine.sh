# A Docker engine of its own, apart from any other on the machine, so that the
# container is tested the same way everywhere. Sourced by .ci/container.
# Sets DOCKER and DOCKER_HOST. Needs root.

# install_engine installs what is missing. It keeps its log in the folder $1.
install_engine() {
  local missing=()
  [ "$(id -u)" = 0 ] || die "a Docker engine can only be started by root: sudo --preserve-env=PATH,HOME $0"
  # From Debian 13 on, the client and its BuildKit are packages of their own.
  command -v dockerd >/dev/null || missing+=(docker.io docker-cli docker-buildx)
  command -v busybox >/dev/null || missing+=(busybox-static)
  [ ${#missing[@]} -eq 0 ] || install_packages "$1/apt" "${missing[@]}"
}

# install_packages installs those of the packages $2... that this Debian has.
install_packages() {
  local log=$1 package packages=()
  shift
  command -v apt-get >/dev/null || die "install $*: this machine has no apt-get"
  apt-get update -qq >"$log" 2>&1 || die "apt-get update fails" "$log"
  for package; do
    apt-cache show "$package" >/dev/null 2>&1 && packages+=("$package")
  done
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >"$log" 2>&1 ||
    die "apt-get cannot install ${packages[*]}" "$log"
}

# start_engine starts dockerd in the folder $1 and waits until it answers. All
# that runs in it uses the host's network or none, so that it needs no packet
# filter. "--bridge none" would delete the bridge of another engine.
start_engine() {
  # Debian's client builds with BuildKit by itself; another may lack the plugin.
  DOCKER=docker
  [ -x /usr/bin/docker ] && DOCKER=/usr/bin/docker
  export DOCKER_HOST="unix://$1/docker.sock" DOCKER_BUILDKIT=1
  unset DOCKER_CONTEXT DOCKER_TLS_VERIFY DOCKER_CERT_PATH
  # Not the machine's settings; and images in the folder, not in its containerd.
  echo '{"features": {"containerd-snapshotter": false}}' >"$1/settings.json"
  dockerd --config-file "$1/settings.json" --host "$DOCKER_HOST" --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" \
    --iptables=false --ip6tables=false --ip-forward=false \
    --containerd-namespace promote-ci --containerd-plugins-namespace promote-ci-plugins >"$1/engine" 2>&1 &
  ENGINE=$!
  for _ in $(seq 120); do
    "$DOCKER" version >/dev/null 2>&1 && return 0
    kill -0 "$ENGINE" 2>/dev/null || break
    sleep 0.5
  done
  die "no Docker engine could be started" "$1/engine"
}

# stop_engine ends the engine and deletes the folder $1, with all that it wrote.
stop_engine() {
  if [ -n "${ENGINE:-}" ]; then
    kill "$ENGINE" 2>/dev/null || true
    for _ in $(seq 40); do
      kill -0 "$ENGINE" 2>/dev/null || break
      sleep 0.5
    done
    kill -9 "$ENGINE" 2>/dev/null || true
    wait "$ENGINE" 2>/dev/null || true
  fi
  # A killed engine leaves mounts behind.
  awk -v folder="$1/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r | xargs -r umount -l 2>/dev/null || true
  rm -rf "$1"
}

# make_bases makes stand-ins for the Dockerfile's base images out of this
# machine's busybox and Go: images cannot be pulled everywhere. The base for the
# other architecture is one in name only; nothing runs in it.
make_bases() {
  local base=$1/base applet arch
  mkdir -p "$base/bin" "$base/etc" "$base/root" "$base/tmp"
  chmod 1777 "$base/tmp"
  cp -L "$(command -v busybox)" "$base/bin/busybox"
  for applet in sh env tail cat; do ln -s busybox "$base/bin/$applet"; done
  for arch in amd64 arm64; do
    printf 'FROM scratch\nCOPY . /\n' | build "$1" --platform "linux/$arch" --tag "promote-base:$arch" --file - "$base"
  done
  printf 'FROM promote-base:%s\nCOPY ca-certificates.crt /etc/ssl/certs/\n' "$(go env GOHOSTARCH)" |
    build "$1" --tag promote-certificates:ci --file - /etc/ssl/certs
  printf 'FROM promote-certificates:ci\nCOPY . /usr/local/go\nENV PATH=/usr/local/go/bin:/bin GOPATH=/go GOTOOLCHAIN=local HOME=/root\n' |
    build "$1" --tag promote-go:ci --file - "$(go env GOROOT)"
}

# build is docker build with its words kept for when it fails.
build() {
  local log=$1/build
  shift
  "$DOCKER" build --progress plain --network host "$@" >"$log" 2>&1 || die "docker build $* fails" "$log"
}

# check_image holds that the image promote:$2, and the program in it, are for the
# architecture $2.
check_image() {
  local id
  [ "$("$DOCKER" inspect --format '{{.Architecture}}' "promote:$2")" = "$2" ] || die "the image promote:$2 is not for $2"
  id=$("$DOCKER" create --platform "linux/$2" "promote:$2")
  "$DOCKER" cp "$id:/promote" "$1/promote"
  "$DOCKER" rm "$id" >/dev/null
  go version -m "$1/promote" | grep -q "GOARCH=$2$" || die "the program in promote:$2 is not for $2"
}

# die says why, and the end of a log.
die() {
  echo "$1" >&2
  [ $# -eq 1 ] || tail -n 30 "$2" >&2
  exit 1
}
