# shellcheck shell=bash
# Steps that say what they do and how long it took. Sourced by the other scripts.

# Prints seconds with one decimal between two values of `now_ms`.
seconds_between() {
  local ms=$(($2 - $1))
  printf '%d.%d s' $((ms / 1000)) $((ms % 1000 / 100))
}

now_ms() {
  date +%s%3N
}

# step <text> <command...>: runs a command of ours in this shell, and says what and how long.
# What the command prints is indented; it may call `skip_step <reason>` to say that nothing had to be done.
step() {
  local text=$1 started note=''
  shift
  started=$(now_ms)
  printf '==> %s\n' "$text"
  STEP_NOTE=''
  "$@"
  note=$STEP_NOTE
  printf '    done in %s%s\n' "$(seconds_between "$started" "$(now_ms)")" "${note:+ ($note)}"
}

# Remembers a remark for the end of the present step.
note() {
  STEP_NOTE=$1
}

say() {
  printf '    %s\n' "$*"
}

# Ends the script with one clear sentence.
die() {
  printf '\nerror: %s\n' "$*" >&2
  exit 1
}

have() {
  command -v "$1" >/dev/null 2>&1
}

# Runs a command as root: as it is, or by sudo (without a question: the scripts never read a terminal).
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo -n "$@"
  fi
}

can_be_root() {
  [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }
}

# Runs a command with its output in a log file; shows the end of it when the command fails.
quietly() {
  local log
  log=$(mktemp)
  if "$@" >"$log" 2>&1 </dev/null; then
    rm -f "$log"
  else
    local code=$?
    tail -n 40 "$log" | sed 's/^/    | /' >&2
    rm -f "$log"
    return "$code"
  fi
}

# Makes sure that Debian packages are installed (apt systems with root rights only).
APT_UPDATED=''
apt_install() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! have apt-get || ! can_be_root; then
    die "these packages are missing: ${missing[*]}. Install them, or run this script as root on an apt system."
  fi
  say "installing ${missing[*]}"
  if [ -z "$APT_UPDATED" ]; then
    quietly as_root apt-get update
    APT_UPDATED=1
  fi
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" ||
    die "apt-get could not install ${missing[*]}"
}

# apt_unpack <package> <folder>: a package's files without an installation.
apt_unpack() {
  [ ! -d "$2" ] || return 0
  have apt-get || die "the package $1 is missing, and this is no apt system"
  say "unpacking $1"
  local work
  work=$(mktemp -d)
  if ! (cd "$work" && quietly apt-get download "$1" 2>/dev/null); then
    if can_be_root; then quietly as_root apt-get update; fi
    (cd "$work" && quietly apt-get download "$1") || die "apt-get could not download $1"
  fi
  dpkg -x "$work"/*.deb "$work/root"
  mkdir -p "$(dirname "$2")"
  mv "$work/root" "$2"
  rm -rf "$work"
}

# pip_install <name==version> <folder>: a package from PyPI, in a Python environment of its own.
pip_install() {
  [ "$(cat "$2/.package" 2>/dev/null)" != "$1" ] || return 0
  say "installing $1"
  rm -rf "$2"
  quietly python3 -m venv "$2" || die "python3 could not make an environment in $2"
  quietly "$2/bin/pip" install --disable-pip-version-check "$1" || die "pip could not install $1"
  echo "$1" >"$2/.package"
}
