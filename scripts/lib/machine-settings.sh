# shellcheck shell=bash
# How this machine reaches the outside: found here, used in image builds (BUILD_* and the like), never kept in an image.
# What the user has set already stays as it is.

find_machine_settings() {
  local found=()
  find_ca_bundle
  find_apt_sources
  find_proxies
  find_indexes
  if [ ${#found[@]} -gt 0 ]; then note "found: ${found[*]}"; else note "nothing special"; fi
}

# A bundle that is configured for some tool, or the system's when the administrator has added authorities to it.
find_ca_bundle() {
  [ -z "${BUILD_CA_BUNDLE:-}" ] || return 0
  local candidate
  for candidate in "${NODE_EXTRA_CA_CERTS:-}" "${SSL_CERT_FILE:-}" "${CURL_CA_BUNDLE:-}" "${REQUESTS_CA_BUNDLE:-}" \
    "${PIP_CERT:-}" "$(npm_config cafile)" "$(pip_config global.cert)" "$(added_authorities)"; do
    if [ -s "$candidate" ]; then
      export BUILD_CA_BUNDLE=$candidate
      found+=(BUILD_CA_BUNDLE)
      return 0
    fi
  done
}

added_authorities() {
  if [ -n "$(find /usr/local/share/ca-certificates -name '*.crt' -print -quit 2>/dev/null)" ]; then
    echo /etc/ssl/certs/ca-certificates.crt
  fi
}

# The machine's sources for Debian bookworm (other releases would not fit the images), with apt's own network settings.
find_apt_sources() {
  [ -z "${BUILD_APT_SOURCES:-}" ] && have apt-get || return 0
  local folder=$REPO/.machine/apt
  rm -rf "$folder"
  mkdir -p "$folder"
  node "$REPO/scripts/lib/apt-sources.mjs" >"$folder/machine.list"
  # Paths of certificates are the machine's own: BUILD_CA_BUNDLE stands for them.
  apt-config dump 2>/dev/null |
    grep -E '^Acquire::(https?::[^ ]*(Proxy|Timeout|Pipeline-Depth|Verify-[A-Za-z]*)|Check-Date|Check-Valid-Until|Retries|ForceIPv[46]) ' \
      >"$folder/apt.conf" || true
  if ! grep -q '^deb .* bookworm ' "$folder/machine.list"; then rm "$folder/machine.list"; fi
  [ -s "$folder/apt.conf" ] || rm "$folder/apt.conf"
  if [ -n "$(ls "$folder")" ]; then
    export BUILD_APT_SOURCES=$folder
    found+=(BUILD_APT_SOURCES)
  fi
}

find_proxies() {
  local name lower
  for name in HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    lower=${name,,}
    if [ -z "${!name:-}" ] && [ -n "${!lower:-}" ]; then export "$name=${!lower}"; fi
    [ -z "${!name:-}" ] || found+=("$name")
  done
  case ${HTTP_PROXY:-}${HTTPS_PROXY:-} in
    *//localhost* | *//127.*)
      [ "${BUILD_NETWORK:-}" = host ] ||
        say "the proxy is on this machine's loopback, which builds can't reach; set BUILD_NETWORK=host to allow it"
      ;;
  esac
}

find_indexes() {
  local value
  value=$(npm_config registry)
  if [ -z "${NPM_CONFIG_REGISTRY:-}" ] && [ -n "$value" ] && [ "${value%/}" != https://registry.npmjs.org ]; then
    export NPM_CONFIG_REGISTRY=$value
  fi
  for name in index-url extra-index-url; do
    local variable=PIP_${name^^}
    variable=${variable//-/_}
    value=$(pip_config "global.$name")
    if [ -z "${!variable:-}" ] && [ -n "$value" ]; then export "$variable=$value"; fi
  done
  for name in NPM_CONFIG_REGISTRY PIP_INDEX_URL PIP_EXTRA_INDEX_URL; do
    [ -z "${!name:-}" ] || found+=("$name")
  done
}

npm_config() {
  npm config get "$1" 2>/dev/null | grep -vxE 'null|undefined' || true
}

# Reads pip's files without pip, which may be absent: `key = value` below [global] or [install].
pip_config() {
  local key=${1#global.} file
  for file in "${PIP_CONFIG_FILE:-}" "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/.pip/pip.conf" /etc/pip.conf; do
    [ -r "$file" ] || continue
    sed -nE "s/^[[:space:]]*${key}[[:space:]]*=[[:space:]]*(.*[^[:space:]])[[:space:]]*\$/\1/p" "$file" | head -n 1
  done | head -n 1
}
