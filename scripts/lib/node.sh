# shellcheck shell=bash
# Node.js and the npm packages.

check_node() {
  have node || die "Node.js is missing. Install 20.19 or newer with npm (https://nodejs.org), then run this again."
  have npm || die "npm is missing. Install it (it comes with Node.js from https://nodejs.org), then run this again."
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' ||
    die "Node.js $(node --version) is too old; 20.19 or newer is needed."
  note "Node.js $(node --version)"
}

install_packages() {
  if node scripts/lib/node-modules.mjs; then
    note "up to date"
  else
    quietly npm ci --no-audit --no-fund || die "npm ci failed"
  fi
}

compile() {
  if [ -e dist/.compiled ] && [ -z "$(find src package.json tsconfig.json tsconfig.build.json -newer dist/.compiled -print -quit)" ]; then
    note "up to date"
    return
  fi
  quietly npm run build || die "the sources do not compile"
  touch dist/.compiled
  # Read by quickstart.
  export COMPILED=1
}
