//! Verbs of other tools, for those whose fingers know them.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A verb of Compose, Docker or kubectl that is none here, and what to write instead.
const HABITS: &[(&str, &str)] = &[
    ("build", "build and push the image with docker; nodes fetch it from its registry"),
    ("convert", "`sisoctl config` prints the normalised stack"),
    ("cordon", "`sisoctl node cordon NODE` places nothing new on a machine"),
    ("cp", "`sisoctl exec STACK/SERVICE cat FILE` prints a file of a task"),
    ("create", "`sisoctl apply FILE` makes the cluster run a stack"),
    ("delete", "`sisoctl stack rm STACK` stops and removes a stack"),
    ("deploy", "`sisoctl apply FILE` makes the cluster run a stack"),
    ("describe", "`sisoctl explain STACK/SERVICE` and `sisoctl node show NODE` tell everything"),
    ("drain", "`sisoctl node drain NODE` moves what can move to other machines"),
    ("down", "`sisoctl stack rm STACK` stops and removes a stack"),
    ("get", "`sisoctl ps`, `sisoctl node ls` and `sisoctl stack ls` list what there is"),
    ("history", "`sisoctl stack history STACK` lists the revisions of a stack"),
    ("inspect", "`sisoctl explain STACK/SERVICE` and `sisoctl node show NODE` tell everything"),
    (
        "kill",
        "`sisoctl restart STACK/SERVICE` replaces tasks, `sisoctl scale STACK/SERVICE=0` ends them",
    ),
    ("label", "`sisoctl node label NODE NAME=VALUE` gives a machine a label"),
    ("list", "`sisoctl stack ls` lists stacks"),
    ("ls", "`sisoctl stack ls` lists stacks"),
    ("nodes", "`sisoctl node ls` lists machines"),
    ("pause", "`sisoctl scale STACK/SERVICE=0` ends the tasks of a service"),
    ("port", "`sisoctl ps` shows the machine of a task: its published ports are open there"),
    ("pull", "`sisoctl apply FILE` lets the nodes fetch what they need"),
    ("push", "push the image with docker; nodes fetch it from its registry"),
    ("rm", "`sisoctl stack rm STACK` stops and removes a stack"),
    ("rollback", "`sisoctl stack rollback STACK` goes back to the last revision that was ready"),
    ("run", "`sisoctl exec STACK/SERVICE CMD` runs a command in a running task"),
    (
        "services",
        "`sisoctl stack ls` counts the services of each stack, `sisoctl ps` lists their tasks",
    ),
    ("start", "`sisoctl scale STACK/SERVICE=N` gives a service its tasks again"),
    ("stats", "`sisoctl top` shows the memory each task uses, `--once` without staying"),
    (
        "stop",
        "`sisoctl scale STACK/SERVICE=0` ends the tasks of a service, `sisoctl stack rm STACK` all",
    ),
    ("uncordon", "`sisoctl node uncordon NODE` places on a machine again"),
    ("undo", "`sisoctl stack rollback STACK` goes back to the last revision that was ready"),
    ("unpause", "`sisoctl scale STACK/SERVICE=N` gives a service its tasks again"),
    ("up", "`sisoctl apply FILE` makes the cluster run a stack"),
    ("wait", "`sisoctl apply FILE` waits until every task is ready, unless told `--detach`"),
];

/// The verb a line was refused for when it is one of another tool, and what to write instead.
///
pub fn habit(refused: &clap::Error) -> Option<(&'static str, &'static str)> {
    let usage = refused.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
    // `node up` is another mistake than `up`.
    if refused.kind() != ErrorKind::InvalidSubcommand || !usage.contains("sisoctl [") {
        return None;
    }
    let Some(ContextValue::String(verb)) = refused.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    HABITS.iter().find(|(known, _)| known == verb).copied()
}
