//! Runs `docent demo` and `docent serve`.

use std::process::ExitCode;

use tokio::net::TcpListener;

use super::signals::watch_stop_signals;
use crate::app::App;
use crate::config::{Config, IndexConfig};
use crate::http::serve::serve;
use crate::startup::StartError;

/// Builds the app and serves until the first stop signal; a second one cuts off open answers.
pub(super) async fn serve_until_stopped(config: Config) -> Result<ExitCode, StartError> {
    let is_demo = matches!(config.index, IndexConfig::Demo(_));
    let (host, port) = (config.listen.host.clone(), config.listen.port);
    let (stop, stop_now) = watch_stop_signals();
    let app = tokio::select! {
        app = App::build(config) => app?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let listener = TcpListener::bind((host.as_str(), port)).await.map_err(|error| {
        StartError::Settings(format!("HOST and PORT: cannot listen on {host} port {port}: {error}"))
    })?;
    let address = listener.local_addr().map_err(|error| StartError::Other(error.to_string()))?;
    match (is_demo, app.rag.provider.generation.service()) {
        (true, None) => tracing::info!("offline demo: no model is asked, answers quote the documentation"),
        (true, Some(service)) => {
            tracing::info!("demo: the documentation is searched offline, {} writes the answers", service.name)
        }
        (false, _) => tracing::info!("serving {}", app.rag.index.description().place),
    }
    tracing::info!("listening on http://{address}");
    tokio::select! {
        () = serve(app, listener, stop.cancelled_owned()) => {}
        () = stop_now.cancelled() => {
            tracing::warn!("stopped twice: open answers are cut off");
        }
    }
    Ok(ExitCode::SUCCESS)
}
