//! The durable form of what the schedulers agree on: entries of the log, and snapshots.
//!
//! **Invariant:** what was written is read back as the same value by this version and every later
//! one, or not at all. A reader that met something it does not know and went on would come to hold
//! another cluster than its peers; so a higher version, an unknown field, variant or enumeration
//! value is an error, never skipped.
//!
//! The limits of the door hold here only for values that came through it (specifications,
//! inventories, reports). Everything else is read as it was written, even where it makes no sense:
//! an entry is refused by `apply`, which answers, and not here, where every replica would stop.
//! A change to `proto/v1/log.proto`, or to a message it holds, comes with a higher version and new
//! files in `tests/golden`.

mod change;
mod command;
mod form;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod image;

#[cfg(test)]
mod tests;

use model::{Generic, Inventory, ServiceSpec, TaskReport, Timestamp};
use prost::Message;
use proto::{
    convert::{
        At as _, BadField, Field,
        kinds::{Maybe, Required},
    },
    v1,
};
use scheduler_core::{Change, ClusterImage, Command, Entry, cluster::AUTOMATIC_FORM};
use thiserror::Error;

use self::{command::CommandForm, form::RequestKey, image::ImageForm};

/// The highest form of entries this version writes and reads; it reads all lower ones too.
pub(crate) const ENTRY_VERSION: u32 = 6;

/// The form of entries that say what an agent permits.
const ALLOWS_FORM: u32 = 4;

/// The form of entries that know generic resources and requests for devices.
const GENERIC_FORM: u32 = 6;

/// The form of entries that say that an image has no variant for a node.
const VARIANT_FORM: u32 = 6;

/// The form of entries that end join tokens.
const END_TOKEN_FORM: u32 = 6;

/// The form that a reader of this inventory must know.
pub(crate) fn form_of_inventory(inventory: &Inventory) -> u32 {
    if !inventory.generic.is_empty() {
        GENERIC_FORM
    } else if inventory.allows.is_some() {
        ALLOWS_FORM
    } else {
        1
    }
}

/// What readers that know forms up to `form` can be told of an inventory.
pub(crate) fn inventory_in(form: u32, inventory: Inventory) -> Inventory {
    let generic = if form < GENERIC_FORM { Generic::NONE } else { inventory.generic };
    let allows = inventory.allows.filter(|_| form >= ALLOWS_FORM);
    Inventory { generic, allows, ..inventory }
}

fn finds_no_variant(report: &TaskReport) -> bool {
    report.status.failure.as_ref().is_some_and(|failure| failure.no_variant)
}

/// What readers that know forms up to `form` can be told of reports.
pub(crate) fn reports_in(form: u32, mut reports: Vec<TaskReport>) -> Vec<TaskReport> {
    if form < VARIANT_FORM {
        let failures = reports.iter_mut().filter_map(|report| report.status.failure.as_mut());
        failures.for_each(|failure| failure.no_variant = false);
    }
    reports
}

/// The form of moves on request.
pub(crate) const MOVES_FORM: u32 = 5;

const fn moves_by_itself(change: &Change) -> bool {
    matches!(change, Change::MoveTask { .. })
}

const fn ends_move(change: &Change) -> bool {
    matches!(change, Change::EndMove { .. })
}

/// The form that a reader of this command must know. An entry is written in the lowest form it has,
/// so that schedulers of the version before read all they may be sent.
pub(crate) fn form_of(command: &Command) -> u32 {
    match command {
        Command::UpdateNode { inventory, .. } => form_of_inventory(inventory),
        Command::ApplyStack { spec, .. }
            if spec.services.values().any(ServiceSpec::wants_generic) =>
        {
            GENERIC_FORM
        }
        Command::Plan { changes, .. }
            if changes.iter().any(|change| matches!(change, Change::EndToken { .. })) =>
        {
            END_TOKEN_FORM
        }
        Command::ReportTasks { reports, .. } if reports.iter().any(finds_no_variant) => {
            VARIANT_FORM
        }
        Command::SetAutomatic { .. } => AUTOMATIC_FORM,
        Command::Plan { changes, .. } if changes.iter().any(moves_by_itself) => AUTOMATIC_FORM,
        Command::MoveTask { .. } => MOVES_FORM,
        Command::Plan { changes, .. } if changes.iter().any(ends_move) => MOVES_FORM,
        Command::RecordNeeds { .. } => 5,
        Command::AddOperator { .. } | Command::RemoveOperator { .. } => 4,
        Command::IntroduceAuthority { .. }
        | Command::AdvanceAuthority { .. }
        | Command::HoldAuthority { .. } => 3,
        Command::RaiseForm { .. } | Command::RemoveScheduler { .. } => 2,
        Command::Found { .. }
        | Command::ApplyStack { .. }
        | Command::RemoveStack { .. }
        | Command::RollbackStack { .. }
        | Command::Scale { .. }
        | Command::Restart { .. }
        | Command::JoinNode { .. }
        | Command::SetLiveness { .. }
        | Command::SetSchedulable { .. }
        | Command::DrainNode { .. }
        | Command::LabelNode { .. }
        | Command::RemoveNode { .. }
        | Command::ReportTasks { .. }
        | Command::CreateToken { .. }
        | Command::RevokeToken { .. }
        | Command::JoinScheduler { .. }
        | Command::ConfirmVolumesRemoved { .. }
        | Command::Plan { .. } => 1,
    }
}

/// Why bytes are not what they should be.
#[derive(Debug, Error)]
pub(crate) enum BadBytes {
    /// Not even a message.
    #[error(transparent)]
    Shape(#[from] prost::DecodeError),
    /// A newer program wrote them, or nobody did.
    #[error(
        "version: {found} is not within 1 to {known}: a newer version of this program must read it"
    )]
    Version { found: u32, known: u32 },
    /// Its version did not have this command.
    #[error("version: {found} has no such command, {needed} has")]
    Earlier { found: u32, needed: u32 },
    /// They hold fields this version has no name for.
    #[error("{count} of {of} bytes belong to fields this program does not know")]
    Unknown { count: usize, of: usize },
    /// A field has no meaning.
    #[error(transparent)]
    Field(#[from] BadField),
}

/// The bytes of an entry. Equal entries have equal bytes.
pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    let wire = v1::Entry {
        version: form_of(&entry.command),
        at: entry.at.0,
        request: Maybe::<RequestKey>::write(&entry.request),
        command: Some(CommandForm::write(&entry.command)),
    };
    wire.encode_to_vec()
}

/// Reads what [`encode_entry`] of this or an earlier version wrote.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn decode_entry(bytes: &[u8]) -> Result<Entry, BadBytes> {
    decode_entry_up_to(bytes, ENTRY_VERSION)
}

/// The same for a reader that knows forms up to `known` only.
pub(crate) fn decode_entry_up_to(bytes: &[u8], known: u32) -> Result<Entry, BadBytes> {
    let wire = v1::Entry::decode(bytes)?;
    check_version(wire.version, known)?;
    let meant = wire.encoded_len();
    let entry = Entry {
        at: Timestamp(wire.at),
        request: Maybe::<RequestKey>::read(wire.request).at("request")?,
        command: Required::<CommandForm>::read(wire.command).at("command")?,
    };
    check_whole(meant, bytes)?;
    let needed = form_of(&entry.command);
    if needed != wire.version {
        return Err(BadBytes::Earlier { found: wire.version, needed });
    }
    // What follows could not be read.
    if let Command::RaiseForm { form } = entry.command {
        check_version(form, known)?;
    }
    Ok(entry)
}

/// The bytes of a whole cluster. Equal clusters have equal bytes.
pub(crate) fn encode_image(image: &ClusterImage) -> Vec<u8> {
    ImageForm::write(image).encode_to_vec()
}

/// Reads what [`encode_image`] of this or an earlier version wrote. Whether it is a cluster that
/// can be is for the cluster to say.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn decode_image(bytes: &[u8]) -> Result<ClusterImage, BadBytes> {
    decode_image_up_to(bytes, ENTRY_VERSION)
}

/// The same for a reader that knows forms up to `known` only.
pub(crate) fn decode_image_up_to(bytes: &[u8], known: u32) -> Result<ClusterImage, BadBytes> {
    let wire = v1::Snapshot::decode(bytes)?;
    check_version(wire.version, known)?;
    let meant = wire.encoded_len();
    let image = ImageForm::read(wire)?;
    check_whole(meant, bytes)?;
    Ok(image)
}

/// Comes first: a higher version explains whatever else is unknown.
fn check_version(found: u32, known: u32) -> Result<(), BadBytes> {
    if (1..=known).contains(&found) { Ok(()) } else { Err(BadBytes::Version { found, known }) }
}

/// Decoding drops fields it has no name for without a word. What it kept, written again, is shorter
/// by just those. Comes last, because it cannot say where they were.
fn check_whole(meant: usize, bytes: &[u8]) -> Result<(), BadBytes> {
    match bytes.len().abs_diff(meant) {
        0 => Ok(()),
        count => Err(BadBytes::Unknown { count, of: bytes.len() }),
    }
}
