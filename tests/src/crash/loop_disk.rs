//! A disk of our own whose power can be cut: ext4 in a file. Needs root.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::Command,
};

use crate::wait::{PROMPT, wait_closely};

/// `FS_IOC_SHUTDOWN` without flushing the journal: what was not synced is gone, as with the power.
/// The request's number is the same on every 64-bit machine we know.
const SHUT_DOWN: &str = "\
import fcntl, os, struct, sys
disk = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(disk, 0x8004587d, struct.pack('I', 2))
";

/// The disk; mounted until it is dropped.
#[derive(Debug)]
pub struct LoopDisk {
    image: PathBuf,
    at: PathBuf,
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program} is needed ({error})"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("{program} {}: {said}", arguments.join(" ")))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl LoopDisk {
    /// Makes one of `mib` MiB below `directory` and mounts it. The error says what the machine lacks.
    pub fn new(directory: &Path, mib: u64) -> Result<Self, String> {
        let (image, at) = (directory.join("disk.img"), directory.join("disk"));
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(mib << 20).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &text(&image)])?;
        fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        let disk = Self { image, at };
        disk.mount()?;
        run("python3", &["-c", "import fcntl"])?;
        Ok(disk)
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o", "loop", &text(&self.image), &text(&self.at)])
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// Cuts the power and gives it back: what was not synced is lost. Nothing may run on it.
    #[track_caller]
    pub fn cut_power(&self) {
        self.fail();
        self.replace();
    }

    /// From now on everything asked of it fails with EIO.
    #[track_caller]
    pub fn fail(&self) {
        run("python3", &["-c", SHUT_DOWN, &text(&self.at)]).expect("the power is cut");
    }

    /// Puts one in its place that works, with what was synced. Nothing may run on it.
    #[track_caller]
    pub fn replace(&self) {
        wait_closely("the disk is let go of", PROMPT, || run("umount", &[&text(&self.at)]));
        // Somebody's mount namespace may hold the old one, dead as it is, for as long as it likes; a
        // copy is another disk to the system.
        let copy = self.image.with_extension("copy");
        run("cp", &["--sparse=always", &text(&self.image), &text(&copy)]).expect("a copy");
        fs::rename(copy, &self.image).expect("the copy takes its place");
        self.mount().expect("the power is back");
    }

    /// Fills it up with a file; the file's path.
    #[track_caller]
    pub fn fill(&self) -> PathBuf {
        self.fill_but(0)
    }

    /// The same, and leaves so many MiB.
    #[track_caller]
    pub fn fill_but(&self, mib: u64) -> PathBuf {
        let path = self.at.join("filler");
        let size = text(&path);
        // Ends with an error when there is no room left, which is what it is for; then in small steps,
        // for what is left is room enough for a small file.
        for step in ["bs=64k", "bs=1k"] {
            let to = format!("of={size}");
            let _ = run("dd", &["if=/dev/zero", &to, step, "oflag=append", "conv=notrunc"]);
        }
        let filler = OpenOptions::new().write(true).open(&path).expect("the filler");
        let length = filler.metadata().expect("the filler").len();
        filler.set_len(length.saturating_sub(mib << 20)).expect("room");
        let _ = run("sync", &["-f", &size]);
        path
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // Lazily: whoever still holds it must not keep it for ever.
        let _ = run("umount", &["-l", &text(&self.at)]);
    }
}
