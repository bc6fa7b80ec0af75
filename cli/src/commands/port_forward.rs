//! `port-forward`: a port of this machine that leads to a port of a task.
//!
//! **Invariant:** what was broken off on one side never looks on the other as if it had ended well.

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
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    args::{Global, PortForward},
    client::{Client, ForwardInput, RelayOutput},
    context,
    error::Error,
    output::{Out, json},
};

/// Connections at one time; others wait to be accepted.
const AT_ONCE: usize = 16;
/// Bytes sent at once.
const CHUNK: usize = 16 * 1024;
/// Before another connection is accepted when one could not be.
const PAUSE: Duration = Duration::from_millis(200);
/// How long an end is read to here before the connection is closed: what is closed with something unread is broken off, and
/// what was sent before it is lost.
const LINGER: Duration = Duration::from_secs(5);
/// How long a connection stays for an answer once everything has been sent. Whether anybody still reads is not to be seen.
const ANSWER_LIMIT: Duration = Duration::from_mins(10);

/// Carries out `port-forward`.
pub async fn run(
    args: &PortForward,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let runs = find(args, client).await?;
    let (local, remote) = (args.ports.local, args.ports.remote);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, local)).await.map_err(|error| {
        Error::input(format!("cannot listen on 127.0.0.1:{local}: {error}"))
            .hint(format!("name another port of this machine, or any free one: 0:{remote}"))
    })?;
    let address = listener.local_addr().map_err(Error::input)?.to_string();
    if out.is_json() {
        json::record(out, &json!({ "address": address }))?;
    } else {
        out.data_line(&address)?;
    }
    let name = name(args);
    out.note(&format!("leads to port {remote} of {name} until Ctrl-C"));
    if !runs {
        out.note(&format!("nothing of {name} runs yet: until it does, connections are broken off"));
    }
    serve(&listener, args, global, out).await
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
    let Some(first) = meant.next() else { return Err(missing(args, client).await) };
    Ok(first.state == "running" || meant.any(|task| task.state == "running"))
}

/// Why there is no task of what is meant.
async fn missing(args: &PortForward, client: &Client) -> Error {
    let (stack, service) = (args.target.stack.as_str(), args.target.service.as_str());
    match client.explain(&args.target, None).await {
        Err(error) => client.with_nearest(error, stack, Some(service)).await,
        Ok(_) => Error::input(format!("{stack}/{service} has no replicas"))
            .hint(format!("give it some: `sisoctl scale {stack}/{service}=1`")),
    }
}

async fn serve(
    listener: &TcpListener,
    args: &PortForward,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let mut open = FuturesUnordered::new();
    let mut not_before = Instant::now();
    loop {
        let accept = async {
            sleep_until(not_before).await;
            listener.accept().await
        };
        let ended = tokio::select! {
            accepted = accept, if open.len() < AT_ONCE => match accepted {
                Ok((stream, _)) => {
                    open.push(carry(stream, args, global));
                    Ok(())
                }
                Err(error) => {
                    not_before = Instant::now() + PAUSE;
                    Err(Error::cluster(format!("a connection was not accepted: {error}")))
                }
            },
            Some(ended) = open.next() => ended,
        };
        if let Err(error) = ended {
            error.report(out);
        }
    }
}

/// One connection, until either side ends it.
async fn carry(stream: TcpStream, args: &PortForward, global: &Global) -> Result<(), Error> {
    // It works without, and more slowly.
    let _ = stream.set_nodelay(true);
    let (mut from, mut to) = stream.into_split();
    match relay(&mut from, &mut to, args, global).await {
        Ok(true) => {
            let _ = timeout(LINGER, discard(&mut from)).await;
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(error) => {
            // One that cannot be told so sees it ended.
            let _ = to.as_ref().set_zero_linger();
            // Dropped, it would end it well first.
            to.forget();
            Err(error)
        }
    }
}

/// Answers whether it was the task that ended it. Each connection has one of its own to the cluster: what the task does not
/// read fills that up, and nothing else.
async fn relay(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    args: &PortForward,
    global: &Global,
) -> Result<bool, Error> {
    let (file, context) = context::load(global)?;
    let client = Client::with_context(file, context, global)?;
    let (input, output) = client.port_forward(&args.target, args.ports.remote).await?;
    tokio::select! {
        done = answers(output, to) => done.map(|()| true),
        () = requests(from, &input) => Ok(false),
    }
}

async fn answers(mut output: RelayOutput<'_>, to: &mut OwnedWriteHalf) -> Result<(), Error> {
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
async fn requests(from: &mut OwnedReadHalf, input: &ForwardInput) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length) = from.read(&mut buffer).await {
        if length == 0 {
            input.send(Frame::CloseStdin(CloseStdin {})).await;
            return sleep(ANSWER_LIMIT).await;
        }
        if !input.send(Frame::Stdin(buffer[..length].to_vec())).await {
            // Why it ended is told by what is answered.
            return std::future::pending().await;
        }
    }
}

/// Reads to the end.
async fn discard(from: &mut OwnedReadHalf) {
    let mut buffer = vec![0; CHUNK];
    while from.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
}
