//! `DIR/admin.yaml`: the context file with which `sisoctl` reaches this cluster.

use std::{fmt::Write as _, io, path::Path};

use crate::{files, pki::KeyAndCertificate};

/// The text of a context file. Names and addresses hold nothing that would end a quoted text.
fn text(
    cluster: &str,
    endpoints: &[String],
    authorities: &str,
    identity: &KeyAndCertificate,
) -> String {
    let mut text = format!("cluster: \"{cluster}\"\nendpoints:\n");
    let blocks = [
        ("authorities", authorities),
        ("certificate", &identity.certificate),
        ("key", &identity.key),
    ];
    // Writing to a string cannot fail.
    for endpoint in endpoints {
        let _ = writeln!(text, "  - \"{endpoint}\"");
    }
    for (key, block) in blocks {
        let _ = writeln!(text, "{key}: |");
        for line in block.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// Writes the context file, readable by its owner only, unless it says the same already.
pub(crate) fn write_context(
    path: &Path,
    cluster: &str,
    endpoints: &[String],
    authorities: &str,
    identity: &KeyAndCertificate,
) -> io::Result<()> {
    let text = text(cluster, endpoints, authorities, identity);
    if std::fs::read_to_string(path).is_ok_and(|held| held == text) {
        return Ok(());
    }
    files::write_private(path, &text)
}
