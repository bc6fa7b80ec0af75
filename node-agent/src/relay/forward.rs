//! A connection to a port of a task, for somebody elsewhere.

use std::{io, time::Duration};

use proto::{
    transport,
    v1::{ForwardOptions, RelayFrame, relay_frame::Frame},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;

use super::{Frames, say};
use crate::runtime::{ContainerId, Runtime, RuntimeError};

/// How long a task may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Bytes in one frame.
const CHUNK: usize = 16 << 10;
/// What says that the task has ended the connection, as a command that went well would.
const ENDED: i64 = 0;

/// Connects and passes bytes both ways, until the task ends the connection or the other side is gone. A task whose other side
/// is gone without having said that it had sent everything sees the connection broken off, not ended.
pub(super) async fn forward<R: Runtime>(
    runtime: &R,
    container: &ContainerId,
    options: ForwardOptions,
    (frames, inbound): (&Frames, &mut Streaming<RelayFrame>),
    stop: &CancellationToken,
) -> Result<(), RuntimeError> {
    let stream = tokio::select! {
        stream = connect(runtime, container, options.port) => stream?,
        () = frames.closed() => return Ok(()),
        () = stop.cancelled() => return Ok(()),
    };
    let (from, mut to) = stream.into_split();
    let mut has_all = false;
    tokio::select! {
        done = answers(from, frames) => return done,
        () = requests(inbound, &mut to, &mut has_all) => {}
        () = frames.closed() => {}
        () = stop.cancelled() => {}
    }
    if !has_all {
        // One that cannot be told so sees it ended.
        let _ = to.as_ref().set_zero_linger();
        // Dropped, it would end it well first.
        to.forget();
    }
    Ok(())
}

fn refused(message: String) -> RuntimeError {
    RuntimeError::Refused { message }
}

async fn connect<R: Runtime>(
    runtime: &R,
    container: &ContainerId,
    port: u32,
) -> Result<TcpStream, RuntimeError> {
    let port = u16::try_from(port).map_err(|_| refused(format!("{port} is no port")))?;
    let address = runtime.address(container).await?;
    let address =
        address.ok_or_else(|| refused("the task does not run, or has no network".to_owned()))?;
    match timeout(CONNECT_LIMIT, TcpStream::connect((address, port))).await {
        Ok(Ok(stream)) => {
            // It works without, and more slowly.
            let _ = transport::tune(&stream);
            Ok(stream)
        }
        Ok(Err(error)) => {
            Err(refused(format!("no connection to port {port} of the task: {error}")))
        }
        Err(_) => {
            let within = CONNECT_LIMIT.as_secs();
            Err(refused(format!("port {port} of the task did not answer within {within} s")))
        }
    }
}

/// What the task sends; when it ends its side, the connection is over.
async fn answers(mut from: OwnedReadHalf, frames: &Frames) -> Result<(), RuntimeError> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await.map_err(|error| broken(&error))?;
        if length == 0 {
            say(frames, Frame::ExitCode(ENDED)).await;
            return Ok(());
        }
        if !say(frames, Frame::Stdout(buffer[..length].to_vec())).await {
            return Ok(());
        }
    }
}

/// What is sent to the task, until the other side is gone. That there will be no more is passed on, and ends nothing; nor
/// does it that the task takes no more: it may have answered before it had heard all.
async fn requests(
    inbound: &mut Streaming<RelayFrame>,
    to: &mut OwnedWriteHalf,
    has_all: &mut bool,
) {
    let mut takes = true;
    while let Ok(Some(frame)) = inbound.message().await {
        let written = match frame.frame {
            Some(Frame::Stdin(bytes)) if takes => to.write_all(&bytes).await,
            Some(Frame::CloseStdin(_)) => {
                *has_all = true;
                to.shutdown().await
            }
            // The rest is of commands, or goes the other way.
            _ => Ok(()),
        };
        takes &= written.is_ok();
    }
}

fn broken(error: &io::Error) -> RuntimeError {
    refused(format!("the task broke the connection off: {error}"))
}
