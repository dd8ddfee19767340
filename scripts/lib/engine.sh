# shellcheck shell=bash
# Docker Engine: an existing one is used as it is; else it is installed and started on apt systems with root rights.

readonly ENGINE_LIMIT=60

engine() {
  node "$REPO/scripts/lib/engine.mjs" "$@"
}

ensure_engine() {
  local reason rootless="${XDG_RUNTIME_DIR:-/nowhere}/docker.sock"
  if reason=$(engine ping 2>&1); then
    note "an engine answers at ${DOCKER_HOST:-/var/run/docker.sock}"
    return
  fi
  [ -z "${DOCKER_HOST:-}" ] || die "no Docker Engine answers at DOCKER_HOST=$DOCKER_HOST: $reason"
  if [ -S "$rootless" ] && DOCKER_HOST="unix://$rootless" engine ping 2>/dev/null; then
    export DOCKER_HOST="unix://$rootless"
    note "a rootless engine answers at $rootless"
    return
  fi
  case $reason in
    *EACCES* | *EPERM*)
      die "this user may not use /var/run/docker.sock. Run this with sudo, or add the user to the group 'docker'."
      ;;
  esac
  can_be_root || die "no Docker Engine answers ($reason), and starting one needs root. Start Docker, or set DOCKER_HOST, or run this as root."
  have dockerd || install_engine
  engine ping 2>/dev/null || start_engine
}

# Without it functions reach this machine's own ports; the daemon says so then.
ensure_firewall() {
  if PATH="$PATH:/usr/sbin:/sbin" have iptables; then note "$(PATH="$PATH:/usr/sbin:/sbin" iptables --version 2>/dev/null)"; return; fi
  if have apt-get && can_be_root; then apt_install iptables; else note 'iptables is not installed'; fi
}

install_engine() {
  have apt-get || die "Docker Engine is not installed. Install it (https://docs.docker.com/engine/install/), then run this again."
  apt_install docker.io iptables ca-certificates
}

start_engine() {
  if [ -d /run/systemd/system ]; then
    quietly as_root systemctl start docker || die "systemctl could not start docker"
  else
    # A killed engine leaves these; a live process of that name keeps its file.
    as_root "$REPO/scripts/lib/remove-stale-pid" /var/run/docker.pid dockerd
    as_root "$REPO/scripts/lib/remove-stale-pid" /var/run/docker/containerd/containerd.pid containerd
    local log=/var/log/dockerd.log
    if ! pgrep -x dockerd >/dev/null 2>&1; then
      say "starting dockerd (log: $log)"
      as_root sh -c "exec env -u WORKER_FRONT_TEST_RUN setsid dockerd >>$log 2>&1 </dev/null &"
    fi
  fi
  local tries
  for ((tries = 0; tries < ENGINE_LIMIT * 2; tries++)); do
    if engine ping 2>/dev/null; then
      note "started"
      return
    fi
    sleep 0.5
  done
  [ -z "${log:-}" ] || as_root tail -n 20 "$log" >&2
  die "Docker Engine did not answer within $ENGINE_LIMIT s of its start"
}
