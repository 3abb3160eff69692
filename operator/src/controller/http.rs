//! A small HTTP/1.1 server for probes, metrics and the webhook.
//!
//! Takes a listener and a handler; does I/O. Bodies are read whole and bounded.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An admission review is far smaller; more than this is refused.
const BODY_BYTES_MAX: usize = 4 << 20;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A request with its body.
pub struct Asked {
    pub path: String,
    pub body: Bytes,
}

/// An answer.
pub struct Answer {
    pub status: StatusCode,
    pub content_type: &'static str,
    pub body: String,
}

impl Answer {
    /// Plain text.
    pub fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; version=0.0.4", body: body.into() }
    }

    /// JSON.
    pub fn json(body: String) -> Self {
        Self { status: StatusCode::OK, content_type: "application/json", body }
    }
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    fn answer(&self, asked: Asked) -> impl Future<Output = Answer> + Send;
}

/// Serves plain HTTP until the future is dropped.
pub async fn serve<H: Handler>(listener: TcpListener, handler: Arc<H>) {
    loop {
        let Some(stream) = accept(&listener).await else { continue };
        tokio::spawn(connection(stream, Arc::clone(&handler)));
    }
}

/// Serves HTTPS until the future is dropped. The acceptor is asked for at each connection, so that
/// a renewed certificate is used at once.
pub async fn serve_tls<H: Handler>(
    listener: TcpListener,
    acceptor: impl Fn() -> Option<TlsAcceptor>,
    handler: Arc<H>,
) {
    loop {
        let Some(stream) = accept(&listener).await else { continue };
        let Some(acceptor) = acceptor() else { continue };
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => connection(stream, handler).await,
                Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
                Err(_) => tracing::debug!("a TLS handshake took too long"),
            }
        });
    }
}

async fn accept(listener: &TcpListener) -> Option<tokio::net::TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            // Out of file descriptors: a loop without a pause would burn the processor.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn connection<S, H>(stream: S, handler: Arc<H>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Handler,
{
    let service = service_fn(move |request| {
        let handler = Arc::clone(&handler);
        async move { Ok::<_, Infallible>(respond(request, &*handler).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn respond<H: Handler>(request: Request<Incoming>, handler: &H) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let answer = match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => handler.answer(Asked { path, body: body.to_bytes() }).await,
        Err(error) => Answer::text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let content_type = hyper::header::HeaderValue::from_static(answer.content_type);
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
    response
}
