//! Counts what was asked and how it was answered.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper::{Request, Response};
use tonic::Code;
use tower::{Layer, Service};

use super::garbled;
use crate::metrics::Figures;

/// Counts the requests of the services below it.
#[derive(Clone)]
pub(crate) struct CountLayer(pub(crate) Arc<Figures>);

impl<S> Layer<S> for CountLayer {
    type Service = Count<S>;

    fn layer(&self, inner: S) -> Count<S> {
        Count { inner, figures: Arc::clone(&self.0) }
    }
}

/// See [`CountLayer`].
#[derive(Clone)]
pub(crate) struct Count<S> {
    inner: S,
    figures: Arc<Figures>,
}

impl<S, In, Out> Service<Request<In>> for Count<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let method = request.uri().path().strip_prefix("/siso.v1.").map(str::to_owned);
        let figures = Arc::clone(&self.figures);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            garbled::blame_the_caller(response.headers_mut());
            // An error that ends a call at once stands in its headers; nothing there means that an
            // answer, or a stream of them, follows.
            let code = response
                .headers()
                .get("grpc-status")
                .map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
            // A name nobody serves may be anything: it is not to be remembered.
            let known = method.filter(|_| code != Code::Unimplemented);
            figures.answered(known.as_deref().unwrap_or("unknown"), i32::from(code));
            Ok(response)
        })
    }
}
