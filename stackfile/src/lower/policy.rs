use crate::{
    diagnostic::Report,
    grammar::{Held, Support},
};

/// Says what a cluster does with keys it does not simply honour.
pub(super) fn report(held: &[Held], report: &mut Report) {
    for Held { path, key, at, support } in held {
        match support {
            // What is not read has been an error already, and a value with a note is held as such.
            Support::Honoured | Support::WeakerAs(..) | Support::Unread(..) => {}
            Support::Weaker(note) => {
                report.note(*at, format!("`{key}`: {note}")).path(path.clone());
            }
            Support::Refused(why, instead) => {
                report
                    .error(*at, format!("`{key}` is not supported: {why}"))
                    .path(path.clone())
                    .hint(*instead);
            }
        }
    }
}
