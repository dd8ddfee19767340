# shellcheck shell=bash
# What quickstart and test do first, in this order. Each part can be run again at any time and then takes no time.

# shellcheck source=scripts/lib/steps.sh
. scripts/lib/steps.sh
# shellcheck source=scripts/lib/node.sh
. scripts/lib/node.sh
# shellcheck source=scripts/lib/engine.sh
. scripts/lib/engine.sh
# shellcheck source=scripts/lib/machine-settings.sh
. scripts/lib/machine-settings.sh
# shellcheck source=scripts/lib/base-image.sh
. scripts/lib/base-image.sh

prepare() {
  step 'Checking Node.js' check_node
  step 'Installing npm packages' install_packages
  step 'Looking for a Docker Engine' ensure_engine
  step 'Looking for iptables' ensure_firewall
  step "Finding this machine's settings for image builds" find_machine_settings
  step 'Base image' ensure_base_image
  step 'Compiling' compile
}

# build_images <options and environments...>
build_images() {
  node scripts/build-images.mjs "$@" || die "the images could not be built"
}
