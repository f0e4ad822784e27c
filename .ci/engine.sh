# Starts a Docker engine of its own, so that the container is tested the same way
# on any machine. Sourced by .ci/container. Sets DOCKER_HOST and DOCKER.

# install_engine installs what is missing. An engine that is there is used.
install_engine() {
  local missing=()
  command -v dockerd >/dev/null || missing+=(docker.io)
  [ -x /bin/busybox ] || [ -x /usr/bin/busybox ] || missing+=(busybox-static)
  [ ${#missing[@]} -eq 0 ] && return 0
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# start_engine starts dockerd in the folder $1 and waits until it answers.
start_engine() {
  local home=$1
  # Debian's client builds with BuildKit by itself; a newer one may lack its plugin.
  DOCKER=docker
  [ -x /usr/bin/docker ] && DOCKER=/usr/bin/docker
  export DOCKER_HOST="unix://$home/docker.sock"
  dockerd --host "$DOCKER_HOST" --data-root "$home/data" --exec-root "$home/exec" \
    --pidfile "$home/pid" >"$home/log" 2>&1 &
  for _ in $(seq 60); do
    "$DOCKER" version >/dev/null 2>&1 && return 0
    sleep 1
  done
  echo "no Docker engine could be started; its log ends:" >&2
  tail -20 "$home/log" >&2
  return 1
}

# stop_engine ends the engine of the folder $1.
stop_engine() {
  [ -f "$1/pid" ] && kill "$(cat "$1/pid")" 2>/dev/null && wait 2>/dev/null
  return 0
}

# import_bases makes stand-ins for the Dockerfile's base images out of this
# machine's Go and busybox: images cannot be pulled everywhere.
import_bases() {
  local root=$1 busybox
  busybox=$(command -v busybox)
  mkdir -p "$root/base/bin" "$root/base/tmp" "$root/base/etc"
  chmod 1777 "$root/base/tmp"
  cp "$busybox" "$root/base/bin/busybox"
  for applet in sh env tail cat ls mkdir mount; do ln -sf busybox "$root/base/bin/$applet"; done
  tar -C "$root/base" -c . | "$DOCKER" import - promote-base:ci >/dev/null
  mkdir -p "$root/go/usr/local" "$root/go/etc/ssl"
  cp -a "$root/base/." "$root/go/"
  cp -a "$(go env GOROOT)" "$root/go/usr/local/go"
  cp -aL /etc/ssl/certs "$root/go/etc/ssl/certs"
  cp /etc/resolv.conf /etc/hosts "$root/go/etc/" 2>/dev/null || true
  tar -C "$root/go" -c . | "$DOCKER" import \
    --change 'ENV PATH=/usr/local/go/bin:/bin GOTOOLCHAIN=local HOME=/tmp' - promote-go:ci >/dev/null
  rm -rf "$root/go" "$root/base"
}
