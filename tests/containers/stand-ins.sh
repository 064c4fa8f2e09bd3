#!/usr/bin/env bash
# Builds local stand-ins for the images that `make test-containers` asks for: Kafka on a Java of
# Debian's, and Debian's PostgreSQL, under the official images' names and with entry points that
# read the same variables.
#
# Where a registry can be reached this is not needed: the official images are pulled and do the
# same. An image that is there and was not built here is left alone. Needs root (for debootstrap),
# a running Docker engine, `make setup`, and a Debian mirror. Running it again does nothing until
# what goes into an image changes.
#
#   LASTWORD_KAFKA_IMAGE, LASTWORD_POSTGRES_IMAGE   the names, as for the tests
#   LASTWORD_STAND_IN_SUITE                         Debian's suite: trixie unless said
#   LASTWORD_STAND_IN_MIRROR                        its mirror: debootstrap's own unless said
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(cd "$here/../.." && pwd)
python=$tree/.venv/bin/python
suite=${LASTWORD_STAND_IN_SUITE:-trixie}
root=lastword/debian-root:$suite
label=lastword.stand-in
install="nice apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends"
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/lastword-stand-ins.XXXXXX")
container=
tidy() {
    [ -z "$container" ] || docker rm -f -v "$container" >/dev/null || true
    rm -rf --one-file-system "$scratch"
}
trap tidy EXIT

say() { printf 'stand-ins: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Run, and show what it said only if it failed.
quietly() { "$@" >"$scratch/log" 2>&1 || { tail -n 30 "$scratch/log" >&2; return 1; }; }

needs() {
    [ "$(id -u)" = 0 ] || fail "debootstrap needs root: run this as root"
    command -v debootstrap >/dev/null || fail "install debootstrap"
    command -v docker >/dev/null || fail "install a Docker engine and its client"
    docker version >/dev/null 2>&1 || fail "no Docker engine answers: start dockerd"
    [ -x "$python" ] || fail "run \`make setup\` first"
}

# What the tests ask for, so that the names stand in one place.
asked_for() { (cd "$tree" && "$python" -c "from tests.integration.containers import $1; print($1())"); }

# The jars that the embedded broker runs on: pinned, checked, cached.
jars() {
    (cd "$tree" && env -u LASTWORD_KAFKA_HOME "$python" -c \
        "from services.runtime.embedded.jars import kafka_libs; print(kafka_libs())")
}

digest() { { echo "$suite"; cat "$here/stand-ins.sh" "$@"; } | sha256sum | cut -c 1-16; }

# Whether the image is there: ours and built from the same things, or somebody else's.
there() {
    local image=$1 recipe=$2 built
    built=$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null) ||
        return 1
    case $built in
        "$recipe") say "$image is there" ;;
        "") say "$image is there and is no stand-in: left alone" ;;
        *) return 1 ;;
    esac
}

# Debian's smallest root, once for both.
debian_root() {
    docker image inspect "$root" >/dev/null 2>&1 && return
    say "unpacking Debian $suite: some minutes, once"
    local mirror=(${LASTWORD_STAND_IN_MIRROR:+"$LASTWORD_STAND_IN_MIRROR"})
    quietly nice debootstrap --variant=minbase "$suite" "$scratch/root" "${mirror[@]}" ||
        fail "debootstrap failed: see the lines above"
    tar -C "$scratch/root" -c . | docker import - "$root" >/dev/null
}

# build IMAGE RECIPE USER PATH COMMANDS ENTRYPOINT [FOLDER-TO-COPY ITS-PLACE]
# The network is the host's, whose names for mirrors are known to work.
build() {
    local image=$1 recipe=$2 user=$3 path=$4 commands=$5 entrypoint=$6
    debian_root
    say "building $image"
    container=$(docker create --network host "$root" bash -euc \
        "export DEBIAN_FRONTEND=noninteractive; apt-get -qq update; $commands; apt-get clean")
    quietly docker cp "$entrypoint" "$container:/entrypoint.sh"
    [ $# -lt 8 ] || quietly docker cp "$7" "$container:$8"
    quietly docker start -a "$container" ||
        fail "$image could not be built: see the lines above"
    docker commit \
        --change 'ENTRYPOINT ["/entrypoint.sh"]' --change 'CMD []' --change "USER $user" \
        --change "ENV PATH=$path" --change "LABEL $label=$recipe" \
        "$container" "$image" >/dev/null
    docker rm -v "$container" >/dev/null
    container=
    docker image prune -f --filter "label=$label" >/dev/null  # the one that this replaced
    say "$image is built"
}

kafka() {
    local image recipe libs
    image=$(asked_for kafka_image)
    recipe=$(digest "$here/kafka-entrypoint.sh" "$tree/services/runtime/embedded/kafka.sha256")
    there "$image" "$recipe" && return
    libs=$(jars)
    build "$image" "$recipe" kafka "$path" "
        $install default-jre-headless
        useradd --system --home-dir /opt/kafka kafka
        install -d -o kafka /opt/kafka/config
        chmod -R a+rX /opt /entrypoint.sh" \
        "$here/kafka-entrypoint.sh" "$libs" /opt/kafka-libs
}

postgres() {
    local image recipe major
    image=$(asked_for postgres_image)
    major=${image##*:}
    major=${major%%.*}
    [[ $major =~ ^[0-9]+$ ]] || fail "$image names no version: say postgres:<major>"
    recipe=$(digest "$here/postgres-entrypoint.sh")
    there "$image" "$recipe" && return
    build "$image" "$recipe" postgres "/usr/lib/postgresql/$major/bin:$path" "
        apt-cache show postgresql-$major >/dev/null || {
            echo 'Debian $suite has no PostgreSQL $major: name another suite' >&2; exit 1; }
        install -d /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
        $install postgresql-$major
        chmod a+rX /entrypoint.sh" \
        "$here/postgres-entrypoint.sh"
}

needs
kafka
postgres
