//! Commands on the other machine, over the user's own `ssh`: their keys, their configuration, their agent.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    time::timeout,
};

use super::probe::Root;
use crate::{args::SshTarget, error::Error, output::safe};

/// Time to connect; a machine that is there answers in less.
const CONNECT_SECONDS: u32 = 15;
/// Time for one command, a person's typing of a passphrase and the copy of a program included.
const COMMAND_LIMIT: Duration = Duration::from_mins(10);
/// Bytes of an answer that are kept.
const ANSWER_BYTES: u64 = 1 << 20;
/// The code with which `ssh` itself ends when it could not do its part.
const SSH_FAILED: i32 = 255;
/// Lines of a failed command's words that are shown.
const SHOWN_LINES: usize = 12;

/// A machine, and how it is reached.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    program: Vec<String>,
    target: SshTarget,
    /// What stands before a command that needs root.
    prefix: &'static str,
}

impl Remote {
    pub(super) fn new(ssh: &str, target: &SshTarget) -> Result<Self, Error> {
        let program: Vec<String> = ssh.split_whitespace().map(str::to_owned).collect();
        if program.is_empty() {
            return Err(
                Error::input("--ssh names no program").hint("leave it out, or write --ssh ssh")
            );
        }
        Ok(Self { program, target: target.clone(), prefix: "" })
    }

    /// The same with what it takes to be root there.
    pub(super) fn with_root(self, root: Root) -> Self {
        let prefix = match root {
            Root::Sudo => "sudo -n ",
            Root::Own | Root::None => "",
        };
        Self { prefix, ..self }
    }

    /// Runs a script there and answers what it prints.
    pub(super) async fn script(&self, text: &str) -> Result<String, Error> {
        self.run("sh -s", text.as_bytes()).await
    }

    /// Runs a command as root and answers what it prints. The command is ours, word for word.
    pub(super) async fn as_root(&self, command: &str) -> Result<String, Error> {
        self.run(&format!("{}{command}", self.prefix), &[]).await
    }

    /// Makes a file of root's, whole or not at all. Its content goes over standard input, so that a secret
    /// in it is in nobody's list of processes.
    pub(super) async fn put(&self, path: &str, mode: &str, content: &[u8]) -> Result<(), Error> {
        let directory = path.rsplit_once('/').map_or("/", |(directory, _)| directory);
        let size = content.len();
        let steps = format!(
            "umask 077 && mkdir -p {directory} && cat > {path}.new && test $(wc -c < {path}.new) -eq {size} \
             && chmod {mode} {path}.new && mv -f {path}.new {path}"
        );
        self.run(&format!("{}sh -c '{steps}'", self.prefix), content).await.map(drop)
    }

    async fn run(&self, command: &str, input: &[u8]) -> Result<String, Error> {
        let (program, more) = self.program.split_first().map_or(("ssh", &[][..]), |(p, m)| (p, m));
        let mut child = Command::new(program)
            .args(more)
            .args(["-T", "-o", &format!("ConnectTimeout={CONNECT_SECONDS}")])
            .args(["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4", "--"])
            .args([&self.target.0, command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                Error::input(format!("cannot run `{program}`: {error}"))
                    .hint("node add uses your own ssh: install it, or name it with --ssh")
            })?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let talk = async {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // A command that ends early is judged by its answer.
                    let _ = stdin.write_all(input).await;
                    let _ = stdin.shutdown().await;
                }
            };
            let ((), printed, said) = tokio::join!(feed, all(stdout), all(stderr));
            (child.wait().await, printed, said)
        };
        let target = &self.target.0;
        let (status, printed, said) = timeout(COMMAND_LIMIT, talk).await.map_err(|_| {
            let minutes = COMMAND_LIMIT.as_secs() / 60;
            Error::unreachable(format!("{target} did not answer within {minutes} minutes"))
        })?;
        let status =
            status.map_err(|error| Error::cluster(format!("`{program}` broke: {error}")))?;
        match status.code() {
            Some(0) => Ok(printed),
            Some(SSH_FAILED) => Err(Error::unreachable(format!("cannot reach {target} with ssh"))
                .details(last_lines(&said))
                .hint(format!("`{} {target}` has to work first", self.program.join(" ")))),
            _ => Err(Error::cluster(format!("a command failed on {target}"))
                .details(last_lines(&(said + &printed)))),
        }
    }
}

async fn all(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read until it broke is all there is.
        let _ = stream.take(ANSWER_BYTES).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines of what a command said, harmless.
pub(super) fn last_lines(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = lines.iter().skip(lines.len().saturating_sub(SHOWN_LINES));
    shown.map(|line| safe::line(line).into_owned()).collect()
}
