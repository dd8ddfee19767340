# shellcheck shell=bash
# The base of all runtime images: debian:bookworm-slim where a registry answers, else the same made with debootstrap.

readonly PULLED_BASE=debian:bookworm-slim
readonly OWN_BASE=worker-front/base:bookworm
readonly PULL_LIMIT=20

ensure_base_image() {
  if [ -n "${BASE_IMAGE:-}" ]; then
    if engine has-image "$BASE_IMAGE" 2>/dev/null; then note "BASE_IMAGE $BASE_IMAGE is there"; return; fi
    engine pull "$BASE_IMAGE" 600 || die "the image $BASE_IMAGE (BASE_IMAGE) could not be pulled"
    return
  fi
  local image
  for image in "$PULLED_BASE" "$OWN_BASE"; do
    if engine has-image "$image" 2>/dev/null; then note "$image is there"; return; fi
  done
  if engine pull "$PULLED_BASE" "$PULL_LIMIT" 2>/dev/null; then note "pulled $PULLED_BASE"; return; fi
  say "no container registry gave $PULLED_BASE within $PULL_LIMIT s; making $OWN_BASE with debootstrap"
  make_base_image
  note "made $OWN_BASE"
}

# Makes OWN_BASE from a Debian mirror: the machine's own one when it has one for bookworm.
make_base_image() {
  have debootstrap || apt_install debootstrap
  [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || apt_install debian-archive-keyring
  can_be_root || die "making the base image needs root (debootstrap); run this as root, or set BASE_IMAGE"
  local work mirror
  mirror=$(debian_mirror)
  work=$(mktemp -d "${TMPDIR:-/var/tmp}/worker-front-base.XXXXXX")
  # The root has files of root only: remove it as root, also when something fails half way.
  if ! build_base_root "$work/root" "$mirror"; then
    as_root rm -rf "$work"
    die "debootstrap from $mirror failed"
  fi
  as_root tar -C "$work/root" --numeric-owner --sort=name -c . | engine import "$OWN_BASE"
  as_root rm -rf "$work"
}

build_base_root() {
  local root=$1 mirror=$2
  quietly as_root debootstrap --variant=minbase --merged-usr \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg bookworm "$root" "$mirror" || return 1
  as_root "$REPO/images/base/clean-root" "$root"
}

# The mirror that this machine's apt uses for Debian bookworm, else Debian's own.
debian_mirror() {
  local found
  found=$(node "$REPO/scripts/lib/apt-sources.mjs" | awk '$3 == "bookworm" { print $2; exit }')
  echo "${found:-http://deb.debian.org/debian}"
}

