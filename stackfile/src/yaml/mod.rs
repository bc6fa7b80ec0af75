//! Bytes to trees. **Invariant:** whatever the bytes are, the work is bounded: size, depth, values
//! and text after aliases are expanded each have a limit that is named when it is passed.

mod build;
mod scalar;
mod syntax;

#[cfg(test)]
mod tests;

use granit_parser::{Options, Parser};

use crate::{
    diagnostic::Report,
    source::{SourceFile, Span, Texts},
    tree::Node,
};

/// How deep values may nest. Real files reach ten; the passes over the tree recurse this deep.
pub(crate) const MAX_DEPTH: usize = 64;
/// How much text a file may hold once aliases are expanded.
pub(crate) const MAX_EXPANDED_BYTES: usize = 16 << 20;

/// Takes in a file: checks its size and encoding and remembers its text. Reports what is wrong.
pub(crate) fn intern(file: &SourceFile, texts: &mut Texts, report: &mut Report) -> Option<u16> {
    let name = &file.name;
    let most = report.bounds().file_bytes;
    if file.bytes.len() > most {
        report
            .error(None, format!("{name} is larger than {} MiB", most >> 20))
            .hint("a stack file is text of a few hundred lines; is this the right file?");
        return None;
    }
    let bytes = match file.bytes.as_slice() {
        [0xef, 0xbb, 0xbf, rest @ ..] => rest,
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => {
            report
                .error(None, format!("{name} is UTF-16; stack files are UTF-8"))
                .hint("save it as UTF-8 in your editor");
            return None;
        }
        bytes => bytes,
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = bytes
                .get(..error.valid_up_to())
                .and_then(|valid| std::str::from_utf8(valid).ok())
                .map_or(1, |valid| valid.matches('\n').count() + 1);
            report
                .error(None, format!("{name}:{line}: this is not UTF-8 text"))
                .hint("save the file as UTF-8 in your editor");
            return None;
        }
    };
    let number = texts.add(name, text.to_owned());
    if number.is_none() {
        report.error(None, "the stack is read from too many files");
    }
    number
}

/// The documents of a file that was taken in. Null documents are left out.
pub(crate) fn documents(file: u16, texts: &Texts, report: &mut Report) -> Vec<Node> {
    let text = texts.text(file);
    let mut options = Options::default();
    options.emit_comments = false;
    options.emit_unresolved_aliases = true;
    let mut builder = build::Builder::new((file, texts), report);
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => {
                if builder.event(event, &span).is_err() {
                    return Vec::new();
                }
            }
            Err(error) => {
                let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
                syntax::explain(&error, Span::new(file, at, at + 1), text, report);
                return Vec::new();
            }
        }
    }
    builder.documents()
}

/// A value as YAML text.
pub(crate) fn print(tree: &serde_json::Value) -> String {
    // Writing into a string cannot fail, and JSON values have no form YAML lacks.
    serde_saphyr::to_string(tree).unwrap_or_default()
}
