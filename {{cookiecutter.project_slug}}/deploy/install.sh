#!/bin/sh
# Makes .venv in the current folder from a lock; `make` calls it. What often fails is looked at first, then it says what
# will be downloaded, and while it works it says every few seconds how far it is.
#
#   sh deploy/install.sh WHAT LOCK DOWNLOAD_MB DISK_MB [DOWNLOAD_MB_THERE DISK_MB_THERE]
#
# WHAT says what the packages are for. DOWNLOAD_MB is what all of the lock's are to download, DISK_MB what they take. The
# last two say the same of what .venv holds already: then the others are added to it. PYTHON names the Python to take,
# INSTALL_TO another folder than .venv. Where there is uv, uv installs, else pip. A project that can be built is
# installed into .venv too, in its place.
set -u

what=$1 lock=$2 download_mb=$3 disk_mb=$4 there_mb=${5:-} there_disk_mb=${6:-}
venv=${INSTALL_TO:-.venv}
log=$venv/install.log
probe_seconds=8
# Words of pip, uv and the system about a network that fails.
network='Failed to fetch|error sending request|onnection|Name or service|getaddrinfo|dns error|name resolution|imed out'
network="$network|nreachable|ProxyError|tunnel|SSLError|ertificate|refused|reset by peer"
print_version='import platform; print(platform.python_version())'
supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }
uv=$(command -v uv) || uv=
case $uv in "$PWD/$venv"/* | "$(pwd -P)/$venv"/*) uv= ;; esac # it would remove itself
has_uv() { [ -n "$uv" ]; }
count_packages() {
    set -- "$venv"/lib/python*/site-packages/*.dist-info
    if [ -e "$1" ]; then echo $#; else echo 0; fi
}
# Whether packages can be added to the .venv that is here: its Python still runs, and has a pip where there is no uv.
can_add() { [ -n "$there_mb" ] && "$venv/bin/python" -c "import sys$(has_uv || echo ', pip')" 2>/dev/null; }
# Runs before anything is changed.
look_first() {
    [ -w . ] || fail "You may not write to $PWD. Nothing was downloaded. Copy the project to a folder of your own."
    # Python up to 3.12 reads the project's path from a file, in the encoding of the locale.
    encoding=$(locale charmap 2>/dev/null || echo UTF-8)
    if [ "$encoding" != UTF-8 ] && printf '%s' "$PWD" | LC_ALL=C grep -q '[^ -~]'; then
        fail "The path $PWD has letters that the locale ${LC_ALL:-${LC_CTYPE:-${LANG:-C}}} lacks, so Python would not" \
            "start. Nothing was downloaded. Run the command with LC_ALL=C.UTF-8, or rename the folder."
    fi
    free_mb=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024) }')
    need_mb=$((download_mb + disk_mb))
    [ "$free_mb" -ge "$need_mb" ] || fail "The disk of $PWD has $free_mb MB free, and the installation needs" \
        "$need_mb MB. Nothing was downloaded. Free some space, or copy the project to a larger disk."
    if [ $mode = add ]; then return 0; fi
    [ ! -L "$venv" ] || fail "$PWD/$venv is a link, and what it leads to would be deleted. Nothing was changed." \
        "Remove the link, then run the command again."
    find_python
    if has_uv; then return 0; fi
    [ -n "$python" ] || fail "${found:-There is no python3 here.} Python 3.11, 3.12 or 3.13 is needed, or uv, which" \
        "fetches one: https://docs.astral.sh/uv/. Nothing was downloaded. PYTHON=… names one that is not on the path."
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python lacks its modules venv and ensurepip. Nothing" \
        "was downloaded. On Debian and Ubuntu: apt install python3-venv. Or install uv: https://docs.astral.sh/uv/."
}
# Sets `python` to the first Python that fits, and `found` to what was found instead.
find_python() {
    python=${PYTHON:-} found=
    if [ -n "$python" ]; then
        version=$("$python" -c "$print_version" 2>/dev/null) || {
            if has_uv; then return 0; fi # uv knows versions, such as 3.12
            fail "PYTHON is $python, which does not run. Nothing was downloaded. Name a Python that does, or none."
        }
        "$python" -c "$supported" || fail "$python is Python $version. Python 3.11, 3.12 or 3.13 is needed. Nothing" \
            "was downloaded."
        return 0
    fi
    for name in python3 python3.13 python3.12 python3.11; do
        version=$("$name" -c "$print_version" 2>/dev/null) || continue
        if "$name" -c "$supported"; then python=$name; return 0; fi
        found="$name is Python $version."
    done
}
make_venv() {
    if has_uv; then
        [ -n "$python" ] || say "${found:-There is no python3 here.} uv downloads a Python that fits."
        said=$(uv venv --quiet --clear --python "${python:->=3.11,<3.14}" "$venv" 2>&1) && return 0
        if printf '%s\n' "$said" | grep -Eq "$network"; then
            printf '%s\n' "$said" | no_network "uv could not download Python ${python:-3.11, 3.12 or 3.13}"
        fi
        fail "uv could not make $PWD/$venv with Python ${python:-3.11, 3.12 or 3.13}. It says: $said"
    else
        said=$("$python" -m venv --clear "$venv" 2>&1) || fail "$python could not make $PWD/$venv. It says: $said"
    fi
}
# uv keeps packages in a folder that may not be writable; without it, it works too.
check_cache() {
    cache=$(uv cache dir 2>/dev/null) || return 0
    while [ ! -e "$cache" ] && [ "$cache" != "${cache%/*}" ]; do cache=${cache%/*}; done
    [ -w "${cache:-/}" ] && return 0
    say "uv may not write to ${cache:-/}, where it keeps packages. It goes on without keeping them."
    export UV_NO_CACHE=1
}
# Asks for one package of the lock, as pip or uv reach their index: its settings and proxies are theirs.
ask_index() {
    one=$(sed -n 's/^\([a-z0-9.-]*==[^ ;\\]*\).*/\1/p' "$lock" | head -n 1)
    if has_uv; then
        UV_HTTP_TIMEOUT=$probe_seconds UV_HTTP_RETRIES=1 uv pip install --quiet --dry-run --no-deps --reinstall \
            --refresh-package "${one%%=*}" --python "$venv/bin/python" "$one"
    else
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --dry-run --no-deps --ignore-installed \
            --no-cache-dir --retries 1 --timeout $probe_seconds "$one"
    fi >"$log" 2>&1
}
# Ends with what happened, and why: the words of the system in what pip or uv said, which is read from stdin.
no_network() { # WHAT_HAPPENED
    said=$(cat)
    why=$(printf '%s\n' "$said" | sed -n -e "s/.*\[Errno [-0-9]*\] \([^'\")]*\).*/\1/p" \
        -e "s/.*'\([A-Za-z]*Error\)(.*: \([^']*\)').*/\1: \2/p" \
        -e 's/^ *[Cc]\(aused by\|ause\): \(.*\)/\2/p' | tail -n 1)
    index=$(has_uv && echo UV_DEFAULT_INDEX || echo PIP_INDEX_URL)
    fail "$1: ${why:-$(printf '%s\n' "$said" | tail -n 1)}. Check the network of this machine. A proxy belongs into" \
        "HTTPS_PROXY, a company's package index into $index. Then run the command again."
}
check_network() {
    [ -z "${UV_OFFLINE:-}${PIP_NO_INDEX:-}${UV_NO_INDEX:-}" ] || return 0
    ask_index && return 0
    grep -Eq "$network" "$log" || return 0 # the installation says better what it is
    if has_uv && UV_OFFLINE=1 uv pip install --quiet --dry-run --python "$venv/bin/python" --require-hashes -r "$lock" \
        2>/dev/null >&2; then
        say "There is no network. uv has all packages in its cache."
        export UV_OFFLINE=1
    else
        no_network "The network does not reach the package index, and nothing was downloaded" <"$log"
    fi
}
install_lock() {
    if has_uv; then
        NO_COLOR=1 uv pip install --python "$venv/bin/python" --require-hashes -r "$lock"
    else
        # The lock is complete. What a program needs compiled, Python compiles at its first start.
        "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off --no-compile --no-deps \
            --require-hashes -r "$lock"
    fi >"$log" 2>&1
}
# With the build backend of the lock: nothing is downloaded.
install_project() {
    { [ "$venv" = .venv ] && grep -q '^\[build-system\]' pyproject.toml; } || return 0
    if has_uv; then
        uv pip install --offline --quiet --python "$venv/bin/python" --no-build-isolation --no-deps -e .
    else
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
    fi >>"$log" 2>&1
}
# How far it is, by what pip or uv have written: the sizes of what they download, then the packages that are there.
state() {
    [ -e "$log" ] || { echo "$venv is being made"; return; }
    all=$(sed -n 's/^Prepared \([0-9]*\) packages.*/\1/p' "$log"
        sed -n 's/^Installing collected packages: //p' "$log" | awk -F, '{ print NF }')
    if [ -n "$all" ]; then
        now=$(($(count_packages) - before))
        echo "$((now > all ? all : now)) of $all packages are installed"
        return
    fi
    awk -v all="$download_mb" '
        function mb(text) { gsub(/[^0-9.]/, "", text); return text }
        /^Downloading / { size[$2] = mb($NF) }  # by uv: "Downloading numpy (16.1MiB)", then " Downloaded numpy"
        /^ Downloaded / { sum += size[$2] }
        /^ +(Downloading|Using cached) .* kB\)$/ { sum += mb($(NF - 1)) / 1000 }  # by pip: "Downloading … (5.2 MB)"
        /^ +(Downloading|Using cached) .* MB\)$/ { sum += mb($(NF - 1)) }
        END { printf "%d of about %d MB are downloaded\n", (sum > all) ? all : sum, all }' "$log"
}
show_progress() { # until the script ends
    while sleep 1 && kill -0 $$ 2>/dev/null; do
        seconds=$(($(date +%s) - began))
        if [ -t 2 ]; then
            printf '\r%4d s: %s   ' $seconds "$(state)" >&2
        elif [ $((seconds - shown)) -ge 5 ]; then
            shown=$seconds
            say "$(printf '%4d s: %s' $seconds "$(state)")"
        fi
    done
}

mode=new
if can_add; then mode=add download_mb=$((download_mb - there_mb)) disk_mb=$((disk_mb - there_disk_mb)); fi
look_first
tool=$(has_uv && echo uv || echo pip)
say "Installing $what with $tool: $download_mb MB to download, unless $tool has kept them, and $disk_mb MB on the disk."
if has_uv; then
    say "That takes some seconds beside the download."
    check_cache
else
    say "That takes one to three minutes beside the download. With uv (https://docs.astral.sh/uv/) it is some seconds."
fi
rm -f "$log"
before=0 began=$(date +%s) shown=0
[ $mode = new ] || before=$(count_packages)
show_progress &
progress=$!
trap 'kill $progress 2>/dev/null' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[ $mode = add ] || make_venv
check_network
install_lock && install_project
code=$?
kill $progress 2>/dev/null
[ ! -t 2 ] || printf '\n' >&2
if [ $code -ne 0 ]; then
    grep -Ev '^(Collecting|Ignoring|Downloading| Downloaded| +(Using cached|Downloading))' "$log" | tail -n 8 >&2
    if grep -Eq "$network" "$log"; then
        no_network "The network failed, and the installation is not complete" <"$log"
    fi
    fail "$tool could not install $lock. It says why above, and in $PWD/$log. Then run the command again."
fi
say "Installed in $(($(date +%s) - began)) s."
