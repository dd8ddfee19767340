# shellcheck shell=bash
# What a test run must not leave behind: containers, networks, firewall rules, processes.

take_snapshot() {
  mkdir -p "$1"
  engine containers | sort >"$1/containers"
  engine networks | sort >"$1/networks"
  firewall_rules >"$1/firewall-rules"
  processes_of_run >"$1/processes"
}

# Only what was added counts: something of somebody else's may well have ended meanwhile.
compare_with_snapshot() {
  local before=$1 after=$2 what added try code=0 id name bridge
  # Removal goes on for a moment after a test has its answer.
  for ((try = 0; try < 10; try++)); do
    take_snapshot "$after"
    if ! diff -rq "$before" "$after" >/dev/null; then sleep 0.5; else return 0; fi
  done
  # A fault of the engine's own: said, not counted (engine.mjs).
  while read -r id name bridge; do
    grep -q "^$id " "$before/networks" && continue
    say "the engine does not let go of the network $name that nothing is attached to"
    sed -i "/^$id /d" "$after/networks"
    sed -i "/$bridge/d" "$after/firewall-rules"
  done < <(engine stuck-networks)
  for what in containers networks firewall-rules processes; do
    added=$(diff "$before/$what" "$after/$what" | sed -n 's/^> //p')
    if [ -n "$added" ]; then
      printf 'left behind (%s):\n%s\n' "$what" "$added"
      code=1
    fi
  done
  return "$code"
}

# Without counters and comments, which change all the time.
firewall_rules() {
  local save
  for save in iptables-save ip6tables-save; do
    have "$save" && can_be_root || continue
    as_root "$save" 2>/dev/null | sed -e '/^#/d' -e 's/\[[0-9]*:[0-9]*\]//' | sort
  done
}

# Processes of this run that no longer belong to this script: they carry its mark in their environment.
processes_of_run() {
  local folder pid
  for folder in /proc/[0-9]*; do
    pid=${folder#/proc/}
    if grep -qzxF "WORKER_FRONT_TEST_RUN=$WORKER_FRONT_TEST_RUN" "$folder/environ" 2>/dev/null && ! is_ours "$pid"; then
      echo "$pid $(tr '\0' ' ' <"$folder/cmdline" 2>/dev/null)"
    fi
  done
}

# True for this script and what it has started and waits for.
is_ours() {
  local pid=$1
  while [ "${pid:-0}" -gt 1 ]; do
    [ "$pid" != $$ ] || return 0
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null)
  done
  return 1
}

# Whatever carries the mark of this run; also after a run that was cut short.
remove_left_overs() {
  local pid
  processes_of_run | while read -r pid _; do kill -9 "$pid" 2>/dev/null || true; done
  engine remove-run "$WORKER_FRONT_TEST_RUN"
}
