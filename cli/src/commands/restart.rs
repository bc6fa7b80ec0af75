//! `restart`: new tasks of the same specification.

use super::follow::finish;
use crate::{
    args::{Global, Restart},
    client::Client,
    error::Error,
    output::{Out, json},
};

/// Carries out `restart`.
pub async fn run(
    args: &Restart,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let target = &args.target;
    let written = match client.restart(target).await {
        Ok(written) => written,
        Err(error) => {
            let service = target.service.as_ref().map(AsRef::as_ref);
            return Err(client.with_nearest(error, target.stack.as_str(), service).await);
        }
    };
    let finished = finish((&target.stack, written), args.detach, client, global, out).await?;
    if out.is_json() {
        json::document(out, &finished)?;
    }
    finished.judge(client).await
}
