//! Two tasks of one replica, told apart.

use model::view::Succession;

/// What follows the name or state of a task while its replica has another one.
pub const fn mark(succession: Option<Succession>) -> &'static str {
    match succession {
        Some(Succession::Old) => " (old)",
        Some(Succession::New) => " (new)",
        None => "",
    }
}
