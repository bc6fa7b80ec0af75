//! `scale`: how many replicas services have.

use std::collections::BTreeMap;

use super::follow::finish;
use crate::{
    args::{Global, Scale},
    client::{Client, Written},
    error::Error,
    output::{Out, json},
};

/// Carries out `scale`. Services are set in the order given; the first refusal ends it.
pub async fn run(
    args: &Scale,
    client: &Client,
    global: &Global,
    out: &mut Out,
) -> Result<(), Error> {
    let mut stacks = BTreeMap::new();
    for to in &args.services {
        match client.scale(to).await {
            Ok(written) => {
                let all: &mut Written = stacks.entry(&to.stack).or_insert(written);
                *all = Written { changed: all.changed || written.changed, ..written };
            }
            Err(error) => {
                let (stack, service) = (to.stack.as_str(), to.service.as_str());
                return Err(client.with_nearest(error, stack, Some(service)).await);
            }
        }
    }
    let mut all = Vec::new();
    for (stack, written) in stacks {
        all.push(finish((stack, written), args.detach, client, global, out).await?);
    }
    if out.is_json() {
        json::document(out, &all)?;
    }
    for finished in &all {
        finished.judge(client).await?;
    }
    Ok(())
}
