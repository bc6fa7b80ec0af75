//! `version`: of this program, and of the scheduler when it answers.

use serde_json::json;

use crate::{
    args::Global,
    client::Client,
    error::Error,
    output::{Out, json, safe},
};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Carries out `version`. A scheduler that does not answer is no failure: which version this is was
/// the question.
pub async fn run(global: &Global, out: &mut Out) -> Result<(), Error> {
    let answer = match Client::connect(global, out) {
        Ok(client) => client.version().await,
        Err(error) => Err(error),
    };
    if out.is_json() {
        let scheduler = answer.as_ref().ok();
        let scheduler =
            scheduler.map(|reply| json!({"version": reply.version, "cluster": reply.cluster}));
        return json::document(out, &json!({"client": VERSION, "scheduler": scheduler}));
    }
    out.data_line(&format!("sisoctl     {VERSION}"))?;
    match answer {
        Ok(reply) => {
            let (version, cluster) = (safe::line(&reply.version), safe::line(&reply.cluster));
            out.data_line(&format!("scheduler   {version} (cluster {cluster})"))
        }
        Err(error) => {
            out.note(&format!("scheduler   unknown: {}", safe::line(&error.to_string())));
            Ok(())
        }
    }
}
