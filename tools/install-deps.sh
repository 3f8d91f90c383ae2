#!/bin/sh
# Installs the Debian packages that building, testing and the demo need and that are missing.
# As root it installs them; as anybody else it says which ones and exits 1 (0 when none is missing).
#
# usage: tools/install-deps.sh [build|check|bench|cross]
#   check (the default): build, cross, and what the tests use; bench: also the peers that benchmarks measure beside; cross: building
#   for arm64 and running that
set -eu

build="gcc libc6-dev make meson ninja-build pkg-config clang llvm libbpf-dev libelf-dev libdw-dev
	zlib1g-dev libzydis-dev xz-utils"
check="bpftool clang-format clang-tidy gdb strace python3 redis-server redis-tools nginx-light libsqlite3-0 libjson-c-dev man-db
	gcc-12-multilib musl-tools binutils util-linux pahole universal-ctags spin systemtap-sdt-dev"

bench="lttng-tools liblttng-ust-dev uftrace"
# gcc-multilib, without the 12, and the cross compiler exclude each other.
cross="gcc meson ninja-build pkg-config python3 llvm gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"

case ${1:-check} in
build) want=$build ;;
check) want="$build $check $cross" ;;
bench) want="$build $check $cross $bench" ;;
cross) want=$cross ;;
*) echo "usage: $0 [build|check|bench|cross]" >&2; exit 2 ;;
esac

missing=
for package in $want; do
	status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
	[ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "$0: missing Debian packages; install them as root with:" >&2
	echo "  apt-get install$missing" >&2
	exit 1
fi

echo "$0: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
# A package that starts a server must not start it here: tests start their own, on ports of their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
