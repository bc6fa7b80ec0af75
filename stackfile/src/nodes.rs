//! `NODES.yaml`: imagined machines for planning without a cluster.

use crate::{ImaginedNode, SourceFile, diagnostic::Report, source::Texts, yaml};

/// Reads the file; what is wrong is reported.
pub(crate) fn read(file: &SourceFile, texts: &mut Texts, report: &mut Report) -> Vec<ImaginedNode> {
    if let Some(number) = yaml::intern(file, texts, report) {
        yaml::documents(number, texts, report);
    }
    Vec::new()
}
