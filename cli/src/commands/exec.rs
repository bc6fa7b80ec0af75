//! `exec`: a command inside a running task, with this terminal when there is one.

use std::{
    io::{self, Read as _},
    thread,
};

use proto::v1::{CloseStdin, ExecOptions, Resize, relay_frame::Frame};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Outcome;
use crate::{
    args::{Exec, ServiceTarget},
    client::{Client, ExecInput, RelayOutput},
    error::{Blame, Error},
    output::Out,
    terminal,
};

/// Bytes of input sent at once.
const CHUNK: usize = 16 * 1024;
/// What a shell reports for a code that does not fit.
const OTHER_CODE: u8 = 255;

/// Carries out `exec`.
pub async fn run(args: Exec, client: &Client, out: &mut Out) -> Result<Outcome, Error> {
    let tty = !args.no_tty && out.look.stdin_terminal && out.look.stdout_terminal;
    let (width, height) = if tty { terminal::size() } else { (0, 0) };
    let options = ExecOptions { command: args.command, tty, stdin: true, width, height };
    let (input, output) = match client.exec(&args.target, options).await {
        Ok(streams) => streams,
        Err(error) => return Err(advise(error, &args.target, client).await),
    };
    let raw = if tty { terminal::RawMode::enter().ok() } else { None };
    let keys = input.clone();
    // A thread, since a read from standard input cannot be called off; the process does not wait
    // for it at its end.
    thread::spawn(move || forward_stdin(&keys));
    let resized = if tty { signal(SignalKind::window_change()).ok() } else { None };
    let ended = relay(output, &input, resized, out).await;
    drop(raw);
    match ended {
        Err(error) => Err(advise(error, &args.target, client).await),
        Ok(code) => Ok(Outcome::Remote(code)),
    }
}

async fn advise(error: Error, target: &ServiceTarget, client: &Client) -> Error {
    let (stack, service) = (target.stack.as_str(), target.service.as_str());
    if error.blame() == Some(Blame::Cluster) && !error.has_hint() {
        return error.hint(format!("see what runs: `sisoctl ps {stack}`"));
    }
    client.with_nearest(error, stack, Some(service)).await
}

fn forward_stdin(input: &ExecInput) {
    let mut stdin = io::stdin().lock();
    let mut buffer = vec![0; CHUNK];
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(length) => {
                if !input.send_blocking(Frame::Stdin(buffer[..length].to_vec())) {
                    return;
                }
            }
        }
    }
    input.send_blocking(Frame::CloseStdin(CloseStdin {}));
}

async fn relay(
    mut output: RelayOutput<'_>,
    input: &ExecInput,
    mut resized: Option<Signal>,
    out: &mut Out,
) -> Result<u8, Error> {
    loop {
        tokio::select! {
            frame = output.next() => match frame? {
                Some(Frame::Stdout(bytes)) => out.data_bytes(&bytes)?,
                Some(Frame::Stderr(bytes)) => out.aside_bytes(&bytes)?,
                Some(Frame::ExitCode(code)) => return Ok(u8::try_from(code).unwrap_or(OTHER_CODE)),
                Some(Frame::Error(why)) => return Err(Error::cluster(why)),
                // Frames of the other direction and of logs.
                Some(
                    Frame::Log(_) | Frame::Stdin(_) | Frame::Resize(_) | Frame::CloseStdin(_),
                ) => {}
                None => {
                    return Err(Error::unreachable("the connection to the command was lost")
                        .hint("it may still run: look with `sisoctl ps`"));
                }
            },
            () = window_change(resized.as_mut()) => {
                let (width, height) = terminal::size();
                input.send(Frame::Resize(Resize { width, height })).await;
            }
        }
    }
}

async fn window_change(resized: Option<&mut Signal>) {
    match resized {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
