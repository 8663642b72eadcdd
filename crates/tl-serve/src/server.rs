//! Connections: accepted, served, ended.
//!
//! The decision: one thread does all that waits for sockets, the readers are a pool beside it, and the thread that called
//! is the model's. On a stop nothing new is accepted, what was asked is answered, and then all threads end.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::error::ServeError;
use crate::http::{Shared, answer};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::queue::queue;
use crate::service::Service;

/// How often the wish to stop is looked at.
const GLANCE: Duration = Duration::from_millis(50);
/// How long a failing accept (no more file descriptors) rests.
const REST: Duration = Duration::from_millis(50);
/// Bytes of a request's head, and of the buffer of a connection.
const HEAD: usize = 64 << 10;

fn failed(what: &'static str) -> impl FnOnce(std::io::Error) -> ServeError {
    move |source| ServeError::System { what, source }
}

/// Serves until `stop` is set or the process is asked to end (SIGTERM); what was accepted until then is answered. `model`
/// answers batches of up to [`Options::batch`] inputs, in their order, on this thread; what it fails with is said to
/// whoever asked.
///
/// # Errors
/// An option is out of range, or the system refuses what a server needs.
pub fn serve<S: Service>(
    listener: TcpListener,
    service: S,
    options: &Options,
    stop: &Arc<AtomicBool>,
    model: impl FnMut(Vec<S::Input>) -> Result<Vec<S::Output>, String>,
) -> Result<(), ServeError> {
    options.check()?;
    listener.set_nonblocking(true).map_err(failed("set up the socket"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(options.readers)
        .build()
        .map_err(failed("start the thread of the connections"))?;
    let (queue, batches) = queue(options.queue);
    let metrics = Arc::new(Metrics::default());
    let shared = Arc::new(Shared {
        service: Arc::new(service),
        options: options.clone(),
        queue,
        metrics: Arc::clone(&metrics),
        held: 0.into(),
        connections: 0.into(),
    });
    let stop = Arc::clone(stop);
    let connections = std::thread::Builder::new().name("connections".to_owned()).spawn(move || {
        let ended = runtime.block_on(accept(listener, shared, &stop));
        // Readers that are still at it have nobody to read for.
        runtime.shutdown_background();
        ended
    });
    let connections = connections.map_err(failed("start the thread of the connections"))?;
    batches.answer(options, &metrics, model);
    connections.join().map_err(|_| ServeError::Broken)?
}

/// Accepts until it is to stop, then waits for what is open.
async fn accept<S: Service>(
    listener: TcpListener,
    shared: Arc<Shared<S>>,
    stop: &AtomicBool,
) -> Result<(), ServeError> {
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed("set up the socket"))?;
    let most = shared.options.connections;
    let (places, (end, ending)) = (Arc::new(Semaphore::new(most)), watch::channel(false));
    let mut asked = std::pin::pin!(asked_to_stop(stop)?);
    loop {
        let next = async {
            // Above the limit connections wait in the system's queue.
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            () = &mut asked => break,
            next = next => next,
        };
        match (accepted, place) {
            (Ok((stream, _)), Ok(place)) => {
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve_one(stream, Arc::clone(&shared), ending.clone(), place));
            }
            (Ok(_), Err(_)) => break,
            // The client has gone, or there are too many open files: neither is a reason to end.
            (Err(_), _) => tokio::time::sleep(REST).await,
        }
    }
    drop(listener);
    let _ = end.send(true);
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    let patience = shared.options.timeout * 2 + Duration::from_secs(1);
    let _ = tokio::time::timeout(patience, places.acquire_many(all)).await;
    Ok(())
}

/// One connection, request after request.
async fn serve_one<S: Service>(
    stream: tokio::net::TcpStream,
    shared: Arc<Shared<S>>,
    mut ending: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    shared.connections.fetch_add(1, Ordering::Relaxed);
    let service = service_fn(|request| answer(Arc::clone(&shared), request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(shared.options.head_timeout).max_buf_size(HEAD);
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    // An error is the client's: it went away, or sent what is not HTTP and was told so.
    let end = async move { drop(ending.wait_for(|ending| *ending).await) };
    tokio::select! {
        _ = connection.as_mut() => {}
        () = end => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.as_mut().await;
        }
    }
    shared.connections.fetch_sub(1, Ordering::Relaxed);
}

/// Ends when the flag is set or the process is asked to end.
fn asked_to_stop(stop: &AtomicBool) -> Result<impl Future<Output = ()> + '_, ServeError> {
    #[cfg(unix)]
    let mut terminated = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate()).map_err(failed("listen for SIGTERM"))?
    };
    let flag = async move {
        while !stop.load(Ordering::SeqCst) {
            tokio::time::sleep(GLANCE).await;
        }
    };
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            () = flag => {}
            _ = terminated.recv() => {}
        }
        #[cfg(not(unix))]
        flag.await;
    })
}
