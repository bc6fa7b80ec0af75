//! `port-forward`: a port of this machine that leads to a port of a task.

use std::{net::Ipv4Addr, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use proto::v1::{CloseStdin, relay_frame::Frame};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::sleep,
};

use crate::{
    args::PortForward,
    client::{Client, ForwardInput, RelayOutput},
    error::Error,
    output::{Out, Tone, json, safe},
};

/// Connections at one time; others wait to be accepted.
const AT_ONCE: usize = 64;
/// Bytes sent at once.
const CHUNK: usize = 16 * 1024;
/// Before another connection is accepted when one could not be.
const PAUSE: Duration = Duration::from_millis(200);

/// Carries out `port-forward`.
pub async fn run(args: &PortForward, client: &Client, out: &mut Out) -> Result<(), Error> {
    let runs = find(args, client).await?;
    let (local, remote) = (args.ports.local, args.ports.remote);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, local)).await.map_err(|error| {
        Error::input(format!("cannot listen on 127.0.0.1:{local}: {error}"))
            .hint(format!("name another port of this machine, or any free one: 0:{remote}"))
    })?;
    let address = listener.local_addr().map_err(Error::input)?;
    if out.is_json() {
        json::record(out, &json!({ "address": address.to_string() }))?;
    } else {
        out.data_line(&address.to_string())?;
    }
    let name = name(args);
    out.note(&format!("leads to port {remote} of {name} until Ctrl-C"));
    if !runs {
        out.note(&format!("nothing of {name} runs yet: until it does, connections are closed"));
    }
    serve(&listener, args, client, out).await
}

/// `STACK/SERVICE[.N]`.
fn name(args: &PortForward) -> String {
    let target = &args.target;
    let replica = target.replica.map_or_else(String::new, |replica| format!(".{replica}"));
    format!("{}/{}{replica}", target.stack, target.service)
}

/// Whether what is meant runs; an error when there is no such thing.
async fn find(args: &PortForward, client: &Client) -> Result<bool, Error> {
    let (stack, service) = (args.target.stack.as_str(), args.target.service.as_str());
    let tasks = match client.tasks(Some(stack)).await {
        Ok(tasks) => tasks,
        Err(error) => return Err(client.with_nearest(error, stack, Some(service)).await),
    };
    let mut meant = tasks.iter().filter(|task| {
        task.service == service && args.target.replica.is_none_or(|number| task.replica == number)
    });
    let Some(first) = meant.next() else {
        let error = Error::input(format!("there is no task of {}", name(args)));
        return Err(client.with_nearest(error, stack, Some(service)).await);
    };
    Ok(first.state == "running" || meant.any(|task| task.state == "running"))
}

async fn serve(
    listener: &TcpListener,
    args: &PortForward,
    client: &Client,
    out: &mut Out,
) -> Result<(), Error> {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if open.len() < AT_ONCE => match accepted {
                Ok((stream, _)) => open.push(carry(stream, args, client)),
                Err(error) => {
                    warn(out, &format!("a connection was not accepted: {error}"));
                    sleep(PAUSE).await;
                }
            },
            Some(Err(error)) = open.next() => {
                warn(out, &format!("a connection ended: {error}"));
            }
        }
    }
}

fn warn(out: &mut Out, text: &str) {
    let word = out.paint_aside(Tone::Careful, "warning:");
    out.aside(&format!("{word} {}", safe::line(text)));
}

/// One connection, until either side ends it.
async fn carry(stream: TcpStream, args: &PortForward, client: &Client) -> Result<(), Error> {
    let (input, output) = client.port_forward(&args.target, args.ports.remote).await?;
    let (from, to) = stream.into_split();
    tokio::select! {
        done = answers(output, to) => done,
        () = requests(from, &input) => Ok(()),
    }
}

async fn answers(mut output: RelayOutput<'_>, mut to: OwnedWriteHalf) -> Result<(), Error> {
    loop {
        match output.next().await? {
            Some(Frame::Stdout(bytes)) => {
                // Whoever was connected here has gone.
                if to.write_all(&bytes).await.is_err() {
                    return Ok(());
                }
            }
            Some(Frame::ExitCode(_)) => {
                let _ = to.shutdown().await;
                return Ok(());
            }
            Some(Frame::Error(why)) => return Err(Error::cluster(why)),
            // Frames of commands and logs, and of the other direction.
            Some(_) => {}
            None => return Err(Error::unreachable("the way to the task was lost")),
        }
    }
}

/// Returns when whoever is connected here has gone; that they send no more is passed on, and they may still read.
async fn requests(mut from: OwnedReadHalf, input: &ForwardInput) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length) = from.read(&mut buffer).await {
        let bytes: Vec<u8> = buffer.iter().take(length).copied().collect();
        if bytes.is_empty() {
            input.send(Frame::CloseStdin(CloseStdin {})).await;
            return std::future::pending().await;
        }
        if !input.send(Frame::Stdin(bytes)).await {
            // Why it ended is told by what is answered.
            return std::future::pending().await;
        }
    }
}
