//! How large a value may be to pass the door. They keep one message from filling a machine; what is
//! sensible within them is for the cluster to decide.
//!
//! The log and the files of agents are read with them too, so they may be raised and never lowered.

/// Bytes of a text: the longest argument or environment variable Linux passes to a program.
pub const TEXT_MAX: usize = 128 << 10;
/// Bytes of a word, a path or an image reference: Linux's `PATH_MAX`.
pub const WORD_MAX: usize = 4096;
/// Bytes of a sentence an agent sends; it shortens what it found.
pub const SENTENCE_MAX: usize = 16 << 10;
/// Entries of a list or map within a specification: a range of ports may stand for this many.
pub const LIST_MAX: usize = 10_000;
/// Tasks of a node, or volumes it is asked to remove: several times what an engine runs.
pub const TASKS_MAX: usize = 10_000;
/// Requests for devices of one service: a machine has a handful.
pub const DEVICE_REQUESTS_MAX: usize = 32;
/// Devices one of them names, or capabilities.
pub const DEVICE_WORDS_MAX: usize = 256;
/// Replicas of one service.
pub const REPLICAS_MAX: u32 = 10_000;
/// `x-siso.priority`.
pub const PRIORITY_MAX: u32 = 100;
/// Bytes of memory or disk: engines count them in signed 64 bits.
pub const BYTES_MAX: u64 = i64::MAX as u64;
/// Thousandths of a core: a million cores, far below where engines' billionths overflow.
pub const MILLI_CPU_MAX: u64 = 1_000_000_000;
/// Milliseconds of a setting: ten years; engines count billionths of a second in signed 64 bits.
pub const MILLIS_MAX: u64 = 10 * 366 * 24 * 3_600_000;
/// Permission bits of a file, with set-user-id, set-group-id and sticky.
pub const MODE_MAX: u32 = 0o7777;
