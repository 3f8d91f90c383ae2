# bash completion for inlay(1)                                            -*- shell-script -*-
_inlay() {
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} verb=${COMP_WORDS[1]}
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "attach list run verify dump exec --help --version" -- "$current")
		return
	fi
	if [ "$previous" = -p ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(cd /proc && printf '%s ' [0-9]*)" -- "$current")
		return
	fi
	local options
	case $verb in
	attach) options="-p -c --duration --json --follow --perf-map --help" ;;
	list) options="-p -v -a --json --summary --help" ;;
	run) options="-- --help" ;;
	verify) options="--log --json --help" ;;
	dump) options="xlated jited --help" ;;
	exec) options="--interp --jit --xdp --raw --help" ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current"; compgen -f -- "$current")
	compopt -o filenames 2>/dev/null
}
complete -F _inlay inlay
