"""`completion`: a script that lets a shell complete commands, nodes, tasks and more; and what such a script asks."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
import typer.main

from ariacluster.cli.completion import SHELLS, complete
from ariacluster.cli.invocation import Invocation, command
from ariacluster.cli.known import Known
from ariacluster.cli.plain import plain

ASKED = "__complete"
"""The word that the scripts begin their question with."""

BASH = r"""# Completion of ariacluster for bash. In ~/.bashrc: source <(ariacluster completion bash)
_ariacluster() {
    local rest=${COMP_LINE:0:COMP_POINT} token word= cut i
    local -a words=()
    # Bash splits words at = and :, and tells the whole line: they are put together again from its end.
    for ((i = COMP_CWORD; i >= 0; i--)); do
        token=${COMP_WORDS[i]}
        while [[ $rest != *"$token" ]]; do token=${token%?}; done
        rest=${rest%"$token"} word=$token$word
        if [[ $i -eq 0 || $rest == *[[:space:]] ]]; then
            words=("$word" "${words[@]}") word= rest=${rest%"${rest##*[![:space:]]}"}
        fi
    done
    # Readline replaces no more than what stands behind the last of these.
    cut=${words[-1]%"${words[-1]##*[=:]}"}
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        if [[ $word == :files ]]; then
            compopt -o default
            return
        fi
        [[ $word == *[=.] ]] && compopt -o nospace
        COMPREPLY+=("${word#"$cut"}")
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _ariacluster ariacluster
"""

ZSH = r"""#compdef ariacluster
# Completion of ariacluster for zsh. In ~/.zshrc, after compinit: source <(ariacluster completion zsh)
_ariacluster() {
    local line word
    local -a whole open
    for line in "${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        word=${line%%$'\t'*}
        [[ -z $word ]] && continue
        if [[ $word == :files ]]; then
            _files
            return
        fi
        line="${word//:/\\:}:${line#*$'\t'}"
        if [[ $word == *[=.] ]]; then open+=("$line"); else whole+=("$line"); fi
    done
    _describe -V ariacluster whole -- open -S ''
}
if [[ ${funcstack[1]} == _ariacluster ]]; then _ariacluster "$@"; else compdef _ariacluster ariacluster; fi
"""

FISH = r"""# Completion of ariacluster for fish: ariacluster completion fish > ~/.config/fish/completions/ariacluster.fish
function __ariacluster_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found (command $words[1] __complete $words[2..-1] 2>/dev/null)
    if contains -- :files (string split -f 1 \t -- $found)
        __fish_complete_path (commandline -ct)
    else
        string join \n -- $found
    end
end
complete -c ariacluster -f -a '(__ariacluster_complete)'
"""

SCRIPTS = dict(zip(SHELLS, (BASH, ZSH, FISH), strict=True))


def add_to(app: typer.Typer) -> None:
    examples = [
        "source <(ariacluster completion bash)",
        "source <(ariacluster completion zsh)",
        "ariacluster completion fish > ~/.config/fish/completions/ariacluster.fish",
    ]
    command(app, "completion", examples=examples)(completion)


async def completion(
    invocation: Invocation,
    shell: Annotated[str, typer.Argument(metavar="SHELL", help=f"One of {', '.join(SHELLS)}.", show_default=False)],
) -> None:
    """Print a script that teaches a shell to complete commands, options, nodes, tasks, states and settings."""
    if shell not in SCRIPTS:
        raise typer.BadParameter(f"{shell!r} is none that is known; there are {', '.join(SHELLS)}.", param_hint="SHELL")
    sys.stdout.write(SCRIPTS[shell])


def answer(app: typer.Typer, words: Sequence[str]) -> None:
    """A word on a line, and behind a tab what it is; `words` are those up to the cursor, the last one unfinished."""
    for item in complete(typer.main.get_command(app), words, Known(_told(words))):
        sys.stdout.write(f"{item.word}\t{plain(item.about)}\n")


def _told(words: Sequence[str]) -> str | None:
    """The node that the line itself names."""
    for position, word in enumerate(words):
        if word.startswith("--url="):
            return word.removeprefix("--url=")
        if word == "--url" and position + 2 < len(words):
            return words[position + 1]
    return None
