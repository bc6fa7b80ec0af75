//! A connection whose errors say what they mean.
//!
//! In TLS 1.3 a server refuses a client's certificate after the client has finished its handshake, so
//! the refusal arrives as an error of the first read and not of the dial.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use rustls::{AlertDescription, Error as TlsError};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use tonic::Status;

use super::error::REPLACED;

/// A TLS connection to `endpoint`.
#[derive(Debug)]
pub(super) struct Stream {
    tls: TlsStream<TcpStream>,
    endpoint: String,
    last_words: LastWords,
}

/// What was said last when this machine's certificate was refused. The error of a call need not tell: one
/// that comes just after the refusal was read learns only that the connection is closed.
#[derive(Debug, Clone, Default)]
pub struct LastWords(Arc<Mutex<Option<String>>>);

impl LastWords {
    /// Takes them out; nothing when nobody refused anything since.
    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, words: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.to_owned());
    }
}

/// What went wrong with a call, in words. Of a broken connection tonic says only that the transport
/// failed; the innermost cause tells why.
pub fn reason(status: &Status) -> String {
    let mut reason = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        reason = cause.to_string();
        source = cause.source();
    }
    reason
}

impl Stream {
    pub(super) fn new(tls: TlsStream<TcpStream>, endpoint: &str, last_words: LastWords) -> Self {
        Self { tls, endpoint: endpoint.to_owned(), last_words }
    }

    fn meaning(&self, error: &io::Error) -> io::Error {
        let alert = error.get_ref().and_then(|inner| match inner.downcast_ref::<TlsError>() {
            Some(TlsError::AlertReceived(alert)) => Some(*alert),
            _ => None,
        });
        let endpoint = &self.endpoint;
        let text = match alert {
            // rustls sends this one for a certificate that is not valid yet, too.
            Some(AlertDescription::CertificateExpired) => format!(
                "{endpoint} takes this machine's certificate for ended or not yet valid: check the \
                 clocks of both machines"
            ),
            Some(AlertDescription::UnknownCA) => format!(
                "{endpoint} does not know the authority of this machine's certificate; {REPLACED}"
            ),
            Some(
                alert @ (AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateRequired
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError),
            ) => format!("{endpoint} does not accept this machine's certificate ({alert:?})"),
            _ => {
                return io::Error::new(
                    error.kind(),
                    format!("the connection to {endpoint} was lost: {error}"),
                );
            }
        };
        self.last_words.note(&text);
        // Text, because h2 keeps nothing else of an error.
        io::Error::new(error.kind(), text)
    }

    /// Why writing failed: whoever closed the connection may have said so before.
    fn write_error(&mut self, cx: &mut Context<'_>, error: &io::Error) -> io::Error {
        let mut scratch = [0; 64];
        let mut last_words = ReadBuf::new(&mut scratch);
        match Pin::new(&mut self.tls).poll_read(cx, &mut last_words) {
            Poll::Ready(Err(reason)) => self.meaning(&reason),
            Poll::Ready(Ok(())) | Poll::Pending => self.meaning(error),
        }
    }

    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        result.map_err(|error| self.write_error(cx, &error))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.tls).poll_read(cx, buffer);
        result.map_err(|error| self.meaning(&error))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tls).poll_write(cx, bytes);
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.tls).poll_write_vectored(cx, slices);
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.tls).poll_flush(cx);
        self.written(cx, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.tls).poll_shutdown(cx);
        self.written(cx, result)
    }
}
