//! A connection to a port of a task, for somebody elsewhere.

use std::{io, time::Duration};

use proto::v1::{ForwardOptions, RelayFrame, relay_frame::Frame};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};
use tonic::Streaming;

use super::{Frames, say};
use crate::runtime::{ContainerId, Runtime, RuntimeError};

/// How long a task may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Bytes in one frame.
const CHUNK: usize = 16 << 10;
/// What says that the task has ended the connection, as a command that went well would.
const ENDED: i64 = 0;

/// Connects and passes bytes both ways, until the task ends the connection or the other side is gone.
pub(super) async fn forward<R: Runtime>(
    runtime: &R,
    container: &ContainerId,
    options: ForwardOptions,
    (frames, inbound): (&Frames, &mut Streaming<RelayFrame>),
) -> Result<(), RuntimeError> {
    let (from, to) = connect(runtime, container, options.port).await?.into_split();
    tokio::select! {
        done = answers(from, frames) => done,
        done = requests(inbound, to) => done,
    }
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
    let address = address.ok_or_else(|| refused("the task has no network".to_owned()))?;
    match timeout(CONNECT_LIMIT, TcpStream::connect((address, port))).await {
        Ok(Ok(stream)) => Ok(stream),
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
        let bytes = buffer.iter().take(length).copied().collect::<Vec<u8>>();
        if bytes.is_empty() {
            say(frames, Frame::ExitCode(ENDED)).await;
            return Ok(());
        }
        if !say(frames, Frame::Stdout(bytes)).await {
            return Ok(());
        }
    }
}

/// What is sent to the task. That there will be no more is passed on, and ends nothing.
async fn requests(
    inbound: &mut Streaming<RelayFrame>,
    mut to: OwnedWriteHalf,
) -> Result<(), RuntimeError> {
    while let Ok(Some(frame)) = inbound.message().await {
        let written = match frame.frame {
            Some(Frame::Stdin(bytes)) => to.write_all(&bytes).await,
            Some(Frame::CloseStdin(_)) => to.shutdown().await,
            // The rest is of commands, or goes the other way.
            _ => Ok(()),
        };
        written.map_err(|error| broken(&error))?;
    }
    Ok(())
}

fn broken(error: &io::Error) -> RuntimeError {
    refused(format!("the task broke the connection off: {error}"))
}
